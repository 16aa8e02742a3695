"""Core files: how many, how large, and where process 1 can keep none."""

from onejob.model.plan import CoreFiles, Dimension, Plan
from onejob.model.profile import Profile
from onejob.planner.memory import with_head_room
from onejob.planner.memory_manager import arrays_kib


def with_core_files(plan: Plan, profile: Profile, most: int) -> Plan:
    """`plan` with at most so many, and what they may take of the data partition; or a warning."""
    if not most:
        return plan
    if why_not := _why_not(plan):
        warning = f"no core files (--core-dumps): {why_not}"
        return plan.model_copy(update={"warnings": (*plan.warnings, warning)})
    held = max((peak.resident_kib for peak in profile.program_peaks), default=profile.resident_kib)
    kib = with_head_room(held) + arrays_kib(plan.memory)
    source = f"a process held {held} KiB at most, and has its arrays"
    files = CoreFiles(most=most, kib=kib, reason=f"--core-dumps {most}; {source}")
    dimension = Dimension(
        name="core files", kind="share", value=str(most * kib), unit="KiB", source=source,
        head_room="+ 25 % of what it held",
        reason=f"{most} of {kib} KiB, then no more until one is removed",
    )  # fmt: skip
    changes = {"core_files": files, "dimensions": (*plan.dimensions, dimension)}
    return plan.model_copy(update=changes)


def _why_not(plan: Plan) -> str:
    if not any(mount.kind == "data" for mount in plan.mounts):
        return "the service has no data partition"
    traced = plan.matrix and plan.service.no_new_privileges and plan.denied != "off"
    return "" if traced else "process 1 traces no process of this service"
