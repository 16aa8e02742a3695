"""Where and how the service's processes run: policy, nice value, processors; and its interrupts.

Only what whoever started the service gave it: what it sets by itself, it sets again.
"""

from collections.abc import Iterator

from onejob.model.plan import Dimension
from onejob.model.processor_list import as_list, parse_list
from onejob.model.profile import Profile, Scheduling

_POLICIES = ("fifo", "rr", "batch", "idle")  # those of sched_setscheduler(2) but the usual one
_SETS = {
    "policy": ("sched_setscheduler", "sched_setattr", "sched_setparam"),
    "nice": ("setpriority", "sched_setattr", "nice"),
    "affinity": ("sched_setaffinity",),
}


def schedule_dimensions(profile: Profile, processors: int) -> Iterator[Dimension]:
    """What process 1 puts on the service before it starts it; nothing where all is as usual."""
    rows = _given_rows(profile)
    if not rows:
        return
    first, source = rows[0], f"threads of {profile.program} had it before they set any themselves"
    if first.policy in _POLICIES and not _sets(profile, "policy"):
        yield Dimension(
            name="policy", kind="schedule", value=f"{first.policy} {first.priority}",
            source=source, reason="scheduling policy and priority (sched(7))",
        )  # fmt: skip
    if first.nice and not _sets(profile, "nice"):
        yield Dimension(
            name="nice", kind="schedule", value=str(first.nice), source=source,
            reason="weight against other processes (nice(2))",
        )  # fmt: skip
    if bound := bound_processors(profile, processors):
        yield Dimension(
            name="affinity", kind="schedule", value=as_list(bound), source=source,
            reason="processors that the service keeps to",
        )  # fmt: skip


def _given_rows(profile: Profile) -> tuple[Scheduling, ...]:
    """The rows of the main program, where all its threads are alike."""
    rows = tuple(row for row in profile.scheduling if row.program == profile.program)
    return rows if len(rows) == 1 else ()


def _sets(profile: Profile, what: str) -> bool:
    return any(use.call_name in _SETS[what] for use in profile.calls)


def bound_processors(profile: Profile, processors: int) -> set[int]:
    """The processors of a machine of `processors` that the service keeps to; none: it does not."""
    rows = _given_rows(profile)
    if not rows or not rows[0].processors or _sets(profile, "affinity"):
        return set()
    bound = {number for number in parse_list(rows[0].processors) if number < processors}
    return bound if len(bound) < processors else set()


def interrupt_processors(profile: Profile, processors: int) -> str:
    """Those that a service which keeps to some leaves free, as a list; empty where all do all."""
    bound = bound_processors(profile, processors)
    return as_list(set(range(processors)) - bound) if bound else ""
