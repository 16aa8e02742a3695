"""The matrix of system calls: for each program and role, what it may call before and after ready.

A filter that a process installs holds for all that it forks and executes (seccomp(2)). So a row
has, besides the calls of its own processes, those of whatever they can become.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from onejob.model.component import CallCheck
from onejob.model.plan_policy import CallDecision, CheckedCall, MatrixRow
from onejob.model.profile import Profile, Role
from onejob.planner.arguments import ArgumentFacts, Grant, allowed_values

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
    everywhere: Set[Grant],
    checks: Mapping[str, CallCheck],
    at_start: Set[Grant] = frozenset(),
) -> tuple[MatrixRow, ...]:
    """The rows of `profile`, none where it does not tell roles apart (see Profile.role_calls).

    `calls` are all that the image allows; those of `everywhere` are in each row, as any process may
    come to make them: to return from a signal, to end, to fail. Those of `at_start` are in the boot
    row of each main.
    """
    own = _own_grants(profile, checks)
    if not own:
        return ()
    own = {
        stage: names if stage.settled or stage.role != "main" else names | at_start
        for stage, names in own.items()
    }
    order = {call.name: call.number for call in calls}
    next_ones = {stage: _next_stages(stage, own, profile) for stage in own}
    needs = _needs(own, next_ones)

    def cell(stage: _Stage) -> tuple[tuple[str, ...], tuple[CheckedCall, ...]]:
        grants = needs[stage] | everywhere if stage in own else set()
        names = sorted(_names(grants) & order.keys(), key=order.__getitem__)
        limits = ((name, allowed_values(name, grants, checks)) for name in names)
        checked = (CheckedCall(call=name, values=v) for name, v in limits if v is not None)
        return tuple(names), tuple(checked)

    def row(program: str, role: Role) -> MatrixRow:
        boot, boot_arguments = cell(_Stage(program, role, False))
        serve, serve_arguments = cell(_Stage(program, role, True))
        return MatrixRow(
            program=program, role=role, boot=boot, serve=serve,
            boot_arguments=boot_arguments, serve_arguments=serve_arguments,
        )  # fmt: skip

    return tuple(
        row(program, role)
        for program in sorted({stage.program for stage in own})
        for role in _ROLES
        if _Stage(program, role, False) in own and program.startswith("/")
    )


def _names(grants: Iterable[Grant]) -> set[str]:
    return {grant.call for grant in grants}


def _own_grants(profile: Profile, checks: Mapping[str, CallCheck]) -> dict[_Stage, set[Grant]]:
    """What processes of each stage were seen to call, and with which arguments.

    Arguments are known by drill: in one in which several stages of a program made a call, each has
    those of all. What was called in a drill, or at all, while nobody saw the stage (a profile of
    another tool, merged) is of all stages.
    """
    facts = ArgumentFacts(profile, checks)
    found: defaultdict[_Stage, set[Grant]] = defaultdict(set)
    drills: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in profile.role_calls:
        stage = _Stage(row.program, row.role, row.settled)
        found[stage] |= facts.in_drill(row.program, row.call_name, row.drill)
        drills[row.program, row.call_name].add(row.drill)
    for stage in list(found):  # whoever settles has started
        found[stage._replace(settled=False)] |= set()
    for program, call in {(use.program, use.call_name) for use in profile.calls}:
        staged = drills[program, call]
        # The execve that made a process what it is, is not its own.
        if call in _EXECUTIONS:
            continue
        unstaged = facts.in_drills_but(program, call, staged)
        for stage in [stage for stage in found if stage.program == program]:
            if not staged or call in _names(found[stage]):
                found[stage] |= unstaged
    return dict(found)


def _next_stages(stage: _Stage, own: dict[_Stage, set[Grant]], profile: Profile) -> set[_Stage]:
    """What a process in this stage can become, itself or its children."""
    found = {stage._replace(settled=True)}
    names = _names(own[stage])
    if names & _FORKS:
        found.add(_Stage(stage.program, "worker", False))
    if names & _EXECUTIONS:
        found |= {
            _Stage(start.child, "main", False)
            for start in profile.starts
            if start.how == "exec" and start.program == stage.program
        }
    return found & own.keys()


def _needs(
    own: dict[_Stage, set[Grant]], next_ones: dict[_Stage, set[_Stage]]
) -> dict[_Stage, set[Grant]]:
    """The calls of each stage and of all that follow it."""
    needs = {stage: set(grants) for stage, grants in own.items()}
    while True:
        before = sum(map(len, needs.values()))
        for stage, others in next_ones.items():
            needs[stage].update(*(needs[other] for other in others))
        if sum(map(len, needs.values())) == before:
            return needs
