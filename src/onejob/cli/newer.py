"""``--newer-system``: plan with the operating system's files as this host has them now."""

from collections.abc import Callable, Sequence
from functools import partial

from onejob.model.component import Component
from onejob.model.plan import Plan, RenewedFile
from onejob.model.profile import Profile, ReachableCall
from onejob.planner.system_files import system_files
from onejob.profiler.renew import renew


def newer_plan(
    profile: Profile, components: Sequence[Component], plan_of: Callable[[Profile], Plan]
) -> Plan:
    """The plan by `plan_of`, with what differs from the profile in `renewed` and in its warnings.

    InputError where the service itself is not what was profiled, or a library is gone.
    """
    carried = {file.path for file in plan_of(profile).files if file.origin == "host"}
    renewal = renew(profile, partial(system_files, components=components), carried)
    made = plan_of(renewal.profile)
    carried |= {file.path for file in made.files}
    renewed = tuple(file for file in renewal.files if file.path in carried)
    warnings = (*made.warnings, *map(_renewed, renewed), *_calls(renewal.calls, made))
    return made.model_copy(update={"renewed": renewed, "warnings": warnings})


def _renewed(file: RenewedFile) -> str:
    then, now = file.profiled or "not in the profile", file.now or "gone"
    return f"newer than the profile: {file.path}: {then}, now {now}"


def _calls(calls: Sequence[ReachableCall], plan: Plan) -> list[str]:
    """What new code could do that no drill has shown, and that stays denied."""
    allowed = {call.name for call in plan.calls}
    found: dict[str, list[str]] = {}
    for call in calls:
        if call.call_name not in allowed:
            found.setdefault(call.object, []).append(call.call_name)
    return [
        f"new code of {path} can call {', '.join(names)}, denied as before: rehearse the image"
        for path, names in found.items()
    ]
