"""What a job's system does otherwise than a service's: how it ends, and what is granted by rule."""

from onejob.model.job import JobDecision
from onejob.model.plan import Mount
from onejob.model.workload import Workload

_THEN = {"reboot": "the machine starts again", "power-off": "the machine is switched off"}


def plan_job(workload: Workload) -> JobDecision | None:
    """How the machine ends when the job has; None for a service."""
    job = workload.job
    if job is None:
        return None
    why = job.rules.get("console-input", "")
    return JobDecision(
        after=job.after,
        input=bool(why),
        reason=f"the workload is a job: when it exits with status 0, {_THEN[job.after]}; when it"
        " fails, its words stay until somebody answers",
        input_reason=why,
    )


def grant_block_devices(mounts: tuple[Mount, ...], workload: Workload) -> tuple[Mount, ...]:
    """`mounts`, in whose /dev all block devices stay if the job has them by rule."""
    why = workload.job.rules.get("block-devices") if workload.job else None
    if why is None:
        return mounts
    return tuple(
        mount.model_copy(
            update={"block_devices": True, "reason": f"{mount.reason}; all block devices: {why}"}
        )
        if mount.kind == "devtmpfs"
        else mount
        for mount in mounts
    )


def widen_memory(mounts: tuple[Mount, ...], workload: Workload) -> tuple[Mount, ...]:
    """`mounts`; what a job works on, no profile has seen, so its folders in memory have no size."""
    if workload.job is None:
        return mounts
    why = "half of the memory, as what a job works on is no part of its profile"
    return tuple(
        mount.model_copy(update={"size_kib": 0, "reason": f"{mount.reason}; {why}"})
        if mount.kind == "tmpfs"
        else mount
        for mount in mounts
    )
