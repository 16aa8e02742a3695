"""By when the service has to be ready, of a system that is tried."""

from onejob.model.plan import Ready
from onejob.model.workload import Workload

# The first start on another machine, with empty caches and a data partition to be seeded.
_TIMES = 4
_LEAST_S = 60.0


def plan_ready(workload: Workload) -> Ready | None:
    """From what the workload gives it where it was profiled; None for a job."""
    if workload.ready is None:
        return None
    within = workload.ready.within
    limit = max(_LEAST_S, _TIMES * within)
    return Ready(
        within_ms=round(limit * 1000),
        reason=f"the workload gives it {within:g} s; {_TIMES} times as long, and at least"
        f" {_LEAST_S:g} s: the machine may be slower, and a first start has empty caches",
    )
