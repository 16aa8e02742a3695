"""Which calls and limits the service gets, each with its reason."""

from collections.abc import Mapping

from onejob.model.component import Component
from onejob.model.errors import InputError
from onejob.model.plan import (
    CallDecision,
    Limit,
    Setting,
    Trust,
)
from onejob.model.profile import Profile
from onejob.model.syscalls import call_number
from onejob.planner.evidence import Evidence

# Head-room over the profiled peak: a drill is shorter than a life.
HEAD_ROOM = 4
_MIN_DESCRIPTORS = 1024
_MAX_DESCRIPTORS = 1 << 20  # fs.nr_open: setrlimit(2) refuses more
_MAX_TASKS = 1 << 22  # PID_MAX_LIMIT of linux/threads.h


def plan_calls(
    evidence: Evidence, chosen: Mapping[str, tuple[Component, str]], trust: Trust
) -> tuple[CallDecision, ...]:
    """The allowed calls by number: those that were made, and those that components stand for.

    With `trust` union also those that the service's code was found to reach.
    """
    reasons = {name: evidence.call_reason(name) for name in evidence.call_names()}
    for component, _ in chosen.values():
        for call in component.call:
            reasons.setdefault(call.name, f"{call.reason} [{component.name}]")
    for row in evidence.profile.reachable_calls if trust == "union" else ():
        reasons.setdefault(row.call_name, f"static: {row.object}: {row.reason}")
    decisions = [
        CallDecision(name=name, number=_number_of(name, reason), reason=reason)
        for name, reason in reasons.items()
    ]
    return tuple(sorted(decisions, key=lambda decision: decision.number))


def calls_of_all(
    evidence: Evidence, chosen: Mapping[str, tuple[Component, str]], trust: Trust
) -> set[str]:
    """The allowed calls that belong to no program in particular, whoever else made them."""
    found = {call.name for component, _ in chosen.values() for call in component.call}
    if trust == "union":
        found |= {row.call_name for row in evidence.profile.reachable_calls}
    return found


def _number_of(name: str, reason: str) -> int:
    number = call_number(name)
    if number is None:
        raise InputError(f"{name!r} is no system call of x86_64 ({reason})")
    return number


def plan_limits(profile: Profile) -> tuple[Limit, ...]:
    """Resource limits from the profiled peaks (setrlimit(2)); `tasks` is the whole service's."""
    wanted = max(_MIN_DESCRIPTORS, _power_of_two(HEAD_ROOM * profile.number_of_descriptors))
    wanted = min(wanted, _MAX_DESCRIPTORS)
    reason = (
        f"{profile.number_of_descriptors} descriptors at once in the profile, times {HEAD_ROOM}"
    )
    threads = max(profile.number_of_threads, profile.number_of_processes, 1)
    tasks = min(_power_of_two(HEAD_ROOM * threads), _MAX_TASKS)
    return (
        Limit(resource="core", soft=0, hard=0, reason="core files hold the service's secrets"),
        Limit(resource="nofile", soft=wanted, hard=wanted, reason=reason),
        Limit(
            resource="tasks", soft=tasks, hard=tasks,
            reason=f"{threads} tasks at once in the profile, times {HEAD_ROOM}",
        ),
    )  # fmt: skip


def _power_of_two(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


def plan_settings(
    evidence: Evidence, chosen: Mapping[str, tuple[Component, str]]
) -> tuple[Setting, ...]:
    """Kernel settings: the components', and a listen queue as long as the service asked for."""
    settings = {
        setting.name: Setting(
            name=setting.name, value=setting.value, reason=f"{setting.why} [{component.name}]"
        )
        for component, _ in chosen.values()
        for setting in component.sysctl
    }
    # listen(2) with a number that is too large, such as -1, asks for no length in particular.
    backlogs = [value for value in evidence.values(("listen",), 0) if 0 < value < 2**31 - 1]
    if backlogs:
        backlog = max(backlogs)
        name = "net.core.somaxconn"
        reason = f"listen was called with a backlog of {backlog}"
        settings[name] = Setting(name=name, value=str(backlog), reason=reason)
    return tuple(settings[name] for name in sorted(settings))
