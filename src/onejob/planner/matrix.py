"""The matrix of system calls: for each program and role, what it may call before and after ready.

A filter that a process installs holds for all that it forks and executes (seccomp(2)). So a row
has, besides the calls of its own processes, those of whatever they can become.
"""

from collections import defaultdict
from collections.abc import Iterable, Set
from typing import NamedTuple

from onejob.model.plan import CallDecision, MatrixRow
from onejob.model.profile import Profile, Role

_FORKS = frozenset({"fork", "vfork", "clone", "clone3"})
_EXECUTIONS = frozenset({"execve", "execveat"})
_ROLES: tuple[Role, ...] = ("main", "worker")


class _Stage(NamedTuple):
    """What a process can be at one moment."""

    program: str
    role: Role
    settled: bool


def plan_matrix(
    profile: Profile,
    calls: Iterable[CallDecision],
    everywhere: Set[str],
    at_start: Set[str] = frozenset(),
) -> tuple[MatrixRow, ...]:
    """The rows of `profile`, none where it does not tell roles apart (see Profile.role_calls).

    `calls` are all that the image allows; those of `everywhere` are in each row, as any process may
    come to make them: to return from a signal, to end, to fail. Those of `at_start` are in the boot
    row of each main.
    """
    own = _own_calls(profile)
    if not own:
        return ()
    own = {
        stage: names if stage.settled or stage.role != "main" else names | at_start
        for stage, names in own.items()
    }
    order = {call.name: call.number for call in calls}
    next_ones = {stage: _next_stages(stage, own, profile) for stage in own}
    needs = _needs(own, next_ones)

    def cell(stage: _Stage) -> tuple[str, ...]:
        found = (needs[stage] | everywhere) & order.keys() if stage in own else set()
        return tuple(sorted(found, key=order.__getitem__))

    return tuple(
        MatrixRow(
            program=program,
            role=role,
            boot=cell(_Stage(program, role, False)),
            serve=cell(_Stage(program, role, True)),
        )
        for program in sorted({stage.program for stage in own})
        for role in _ROLES
        if _Stage(program, role, False) in own and program.startswith("/")
    )


def _own_calls(profile: Profile) -> dict[_Stage, frozenset[str]]:
    """What processes of each stage were seen to call.

    A call of the program whose stage nobody saw (a profile of another tool, merged) is of all.
    """
    found: defaultdict[_Stage, set[str]] = defaultdict(set)
    for row in profile.role_calls:
        found[_Stage(row.program, row.role, row.settled)].add(row.call_name)
    for stage in list(found):  # whoever settles has started
        found[stage._replace(settled=False)] |= set()
    known: defaultdict[str, set[str]] = defaultdict(set)
    for stage, names in found.items():
        known[stage.program] |= names
    for use in profile.calls:
        # The execve that made a process what it is, is not its own.
        if use.call_name not in known[use.program] | _EXECUTIONS:
            for stage in [stage for stage in found if stage.program == use.program]:
                found[stage].add(use.call_name)
    return {stage: frozenset(names) for stage, names in found.items()}


def _next_stages(stage: _Stage, own: dict[_Stage, frozenset[str]], profile: Profile) -> set[_Stage]:
    """What a process in this stage can become, itself or its children."""
    found = {stage._replace(settled=True)}
    if own[stage] & _FORKS:
        found.add(_Stage(stage.program, "worker", False))
    if own[stage] & _EXECUTIONS:
        found |= {
            _Stage(start.child, "main", False)
            for start in profile.starts
            if start.how == "exec" and start.program == stage.program
        }
    return found & own.keys()


def _needs(
    own: dict[_Stage, frozenset[str]], next_ones: dict[_Stage, set[_Stage]]
) -> dict[_Stage, set[str]]:
    """The calls of each stage and of all that follow it."""
    needs = {stage: set(names) for stage, names in own.items()}
    while True:
        before = sum(map(len, needs.values()))
        for stage, others in next_ones.items():
            needs[stage].update(*(needs[other] for other in others))
        if sum(map(len, needs.values())) == before:
            return needs
