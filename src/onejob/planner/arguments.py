"""Which arguments of calls are allowed: those that the profile shows, under the components' masks.

A grant is a call with the values that some process may give to it. Of calls that are not checked,
and where nobody knows with which arguments they were made, it is a grant of any.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Literal, NamedTuple

from onejob.model.component import CallAnswer, CallCheck, Component
from onejob.model.file_uses import joined
from onejob.model.plan import Trust
from onejob.model.plan_policy import AnsweredCall, ArgumentCheck, ArgumentValues, CallDecision
from onejob.model.profile import Profile
from onejob.model.syscalls import call_number


class Grant(NamedTuple):
    """`values` None: any arguments."""

    call: str
    values: ArgumentValues | None = None


Chosen = Mapping[str, tuple[Component, str]]


def checks_of(chosen: Chosen) -> dict[str, CallCheck]:
    """The calls whose arguments the chosen components want to be checked, and what they add."""
    more: defaultdict[str, list[ArgumentValues]] = defaultdict(list)
    for item in (item for component, _ in chosen.values() for item in component.more_arguments):
        more[item.call] += item.values
    return {
        check.call: check.model_copy(update={"harmless": (*check.harmless, *more[check.call])})
        for component, _ in chosen.values()
        for check in component.check
    }


def answer_calls(profile: Profile, chosen: Chosen) -> tuple[Profile, tuple[AnsweredCall, ...]]:
    """The profile as it would be where calls are answered as chosen components say, and which are.

    Whoever made such a call makes the other one instead.
    """
    answers = [answer for component, _ in chosen.values() for answer in component.answer]
    taken = {answer.call: answer for answer in answers if _can_be_answered(answer, profile)}

    def renamed(name: str) -> str:
        return taken[name].instead if name in taken else name

    changes = {
        field: tuple(
            row.model_copy(update={"call_name": renamed(row.call_name)})
            for row in getattr(profile, field)
        )
        for field in ("calls", "arguments", "role_calls", "reachable_calls")
    }
    answered = tuple(
        AnsweredCall(
            name=answer.call,
            number=call_number(answer.call) or 0,
            errno=answer.errno,
            reason=answer.why,
        )
        for answer in taken.values()
    )
    return (profile.model_copy(update=changes) if taken else profile), answered


def _can_be_answered(answer: CallAnswer, profile: Profile) -> bool:
    made = any(use.call_name == answer.call for use in profile.calls)
    return made and not any(
        row.values and row.values[0] & answer.unless
        for row in profile.arguments
        if row.call_name == answer.call
    )


class ArgumentFacts:
    """With which arguments the programs of a profile were seen to make the checked calls."""

    def __init__(self, profile: Profile, checks: Mapping[str, CallCheck]) -> None:
        self._checks = checks
        self._seen: defaultdict[tuple[str, str, str], set[Grant]] = defaultdict(set)
        for row in profile.arguments:
            check = checks.get(row.call_name)
            if check and len(row.values) >= len(check.arguments):
                values = tuple(v & m for v, m in zip(row.values, check.masks, strict=False))
                self._seen[row.program, row.call_name, row.drill].add(Grant(row.call_name, values))
        self._made: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for use in profile.calls:
            self._made[use.program, use.call_name].add(use.drill)
        for program, call, drill in self._seen:
            self._made[program, call].add(drill)

    def in_drill(self, program: str, call: str, drill: str) -> Set[Grant]:
        """What a program that made `call` in `drill` gave to it."""
        return self._seen.get((program, call, drill), {Grant(call)})

    def in_drills_but(self, program: str, call: str, drills: Set[str]) -> Set[Grant]:
        """What it gave to it in all other drills."""
        others = self._made[program, call] - drills
        return {grant for drill in others for grant in self.in_drill(program, call, drill)}

    def of_all(self, call: str) -> Set[Grant]:
        """What all programs gave to it."""
        programs = [program for program, made in self._made if made == call]
        return {g for program in programs for g in self.in_drills_but(program, call, set())}

    def unknown(self, call: str) -> str:
        """Who made a checked call with arguments that nobody knows, and in which drills."""
        found = {
            (program, drill)
            for (program, made), drills in self._made.items()
            for drill in drills
            if made == call and Grant(call) in self.in_drill(program, call, drill)
        }
        programs = ", ".join(sorted({program for program, _ in found}))
        return f"{programs} in {joined(drill for _, drill in found)}" if found else ""


def grants_of_all(
    profile: Profile, chosen: Chosen, checks: Mapping[str, CallCheck], trust: Trust
) -> set[Grant]:
    """What belongs to no program in particular: the calls that components stand for.

    With `trust` union also those that the service's code was found to reach.
    """
    found = component_grants(chosen, checks, "")
    if trust == "union":
        found |= {Grant(row.call_name) for row in profile.reachable_calls}
    return found


def component_grants(
    chosen: Chosen, checks: Mapping[str, CallCheck], phase: Literal["boot", ""]
) -> set[Grant]:
    """The calls that components stand for: of any process, or of each program while it starts."""
    found: set[Grant] = set()
    calls = (call for component, _ in chosen.values() for call in component.call)
    for call in (call for call in calls if call.phase == phase):
        known = call.arguments or (checks[call.name].harmless if call.name in checks else ())
        found |= {Grant(call.name, values) for values in known} or {Grant(call.name)}
    return found


def allowed_values(
    call: str, grants: Iterable[Grant], checks: Mapping[str, CallCheck]
) -> tuple[ArgumentValues, ...] | None:
    """The values that `grants` allow for `call`, in order; None for any."""
    found = {grant.values for grant in grants if grant.call == call}
    if call not in checks or None in found:
        return None
    return tuple(sorted({*(values for values in found if values), *checks[call].harmless}))


def plan_argument_checks(
    profile: Profile,
    calls: Iterable[CallDecision],
    everywhere: Set[Grant],
    checks: Mapping[str, CallCheck],
    chosen: Chosen,
) -> tuple[ArgumentCheck, ...]:
    """What all programs together may give to the checked ones among `calls`."""
    facts = ArgumentFacts(profile, checks)
    found = []
    for call in (call.name for call in calls if call.name in checks):
        check = checks[call]
        values = allowed_values(call, facts.of_all(call) | everywhere, checks)
        reason = "; ".join((check.why, *_additions(call, chosen)))
        if values is None:
            who = facts.unknown(call) or "code that was found and not seen to run"
            reason = f"not checked: it is made by {who} with arguments that nobody knows"
        found.append(
            ArgumentCheck(
                call=call, arguments=check.arguments, masks=check.masks, values=values,
                reason=reason,
            )
        )  # fmt: skip
    return tuple(found)


def _additions(call: str, chosen: Chosen) -> list[str]:
    """Which components add values to a checked call, and why."""
    return [
        f"{item.function}: {item.why} [{component.name}]"
        for component, _ in chosen.values()
        for item in component.more_arguments
        if item.call == call
    ]
