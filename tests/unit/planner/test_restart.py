"""How often a service that fails is started again: as its workload says, with a reason."""

import pytest

from onejob.model.plan import Restart
from onejob.model.workload import Ready, Workload
from onejob.model.workload import Restart as Wanted
from onejob.planner.restart import plan_restart


def workload(wanted: Wanted, within: float = 30) -> Workload:
    ready = Ready(log="up", within=within)
    return Workload(name="it", command=("it",), ready=ready, restart=wanted)


def test_the_usual_policy_outlasts_the_time_for_which_ports_are_kept() -> None:
    assert plan_restart(workload(Wanted())) == Restart(
        attempts=6, first_ms=1000, longest_ms=60_000, steady_ms=60_000,
        reason="63 s of rest in all, where the kernel keeps ports for 60 s; after 60 s it has been"
        " ready",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "within", "steady_ms"),
    [(Wanted(steady=5), 30, 5000), (Wanted(), 90, 90_000), (Wanted(steady=5), 90, 5000)],
)
def test_it_is_steady_when_it_has_been_ready(wanted: Wanted, within: float, steady_ms: int) -> None:
    planned = plan_restart(workload(wanted, within))
    assert planned is not None
    assert planned.steady_ms == steady_ms


def test_a_workload_can_say_never() -> None:
    assert plan_restart(workload(Wanted(attempts=0))) is None
