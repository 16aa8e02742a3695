"""How often a service that fails is started again, and after which rest."""

from onejob.model.plan import Restart
from onejob.model.workload import Workload

# The kernel keeps the ports of connections that were open for so long (TIME_WAIT, tcp(7)).
_PORTS_KEPT_S = 60.0


def plan_restart(workload: Workload) -> Restart | None:
    """As the workload wants it; None where it says never, and for a job."""
    wanted = workload.restart
    if not wanted.attempts or workload.job:
        return None
    steady = wanted.steady or max(_PORTS_KEPT_S, workload.readiness().within)
    rests = [min(wanted.first * 2**n, wanted.longest) for n in range(wanted.attempts)]
    return Restart(
        attempts=wanted.attempts,
        first_ms=round(wanted.first * 1000),
        longest_ms=round(wanted.longest * 1000),
        steady_ms=round(steady * 1000),
        reason=f"{sum(rests):g} s of rest in all, where the kernel keeps ports for"
        f" {_PORTS_KEPT_S:g} s; after {steady:g} s it has been ready",
    )
