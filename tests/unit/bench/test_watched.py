"""The places where profiling is measured: the same service, the same answers, nothing left."""

import sys
from pathlib import Path

import pytest

from onejob.bench import profile_cost, ptrace_cost
from onejob.bench.meter import meter_drills
from onejob.model.workload import Drill, Expect, Ready, Stop, Workload

SERVICE = Path(__file__).parent.parent / "drive/service.py"
LOG = "/var/log/onejob-bench-test.log"
WORKLOAD = Workload(
    name="small",
    command=(sys.executable, str(SERVICE), "8099", LOG, "2"),
    ports=(8099,),
    ready=Ready(http="http://{address:8099}/"),
    stop=Stop(signal="QUIT"),
    drill=(Drill(name="ask", expect=Expect(request="http://{address:8099}/")),),
)


PLACES = profile_cost.PLACES | ptrace_cost.PLACES


@pytest.mark.root
@pytest.mark.ebpf
@pytest.mark.parametrize("name", PLACES)
def test_a_service_runs_and_is_metered_in_every_place(name: str) -> None:
    costs = meter_drills(PLACES[name], WORKLOAD)
    assert list(costs) == ["start", "ask"]
    assert costs["ask"].requests == 1 and costs["ask"].cpu_seconds >= 0
    assert not Path(LOG).exists(), "the sandbox is not one"
