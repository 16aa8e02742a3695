"""What requests cost: processor time of a service before and after each drill."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onejob.bench.meter import (
    Cost,
    Meter,
    busiest_drill,
    cpu_seconds,
    only_drill,
    stat_ticks,
)
from onejob.drive.drills import DrillResult
from onejob.drive.target import Process
from onejob.model.errors import InputError
from onejob.model.workload import Command, Drill, Ready, Workload

# For each line: as much processor time as it says, then an answer.
SPINNER = """\
import sys, time
for line in sys.stdin:
    end = time.process_time() + float(line)
    while time.process_time() < end:
        pass
    print("done", flush=True)
"""


class Spinner:
    """A fake service that takes as much processor time as it is told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SPINNER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def spin(self, seconds: float) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{seconds}\n")
        assert self.process.stdout.readline() == "done\n"

    def processes(self) -> tuple[Process, ...]:
        gone = Process(2**22, 1, 0, "gone")  # one above the largest pid that there can be
        return (Process(self.process.pid, os.getpid(), 0, "spinner"), gone)


@pytest.fixture
def spinner() -> Iterator[Spinner]:
    service = Spinner()
    with service.process:
        yield service
        service.process.kill()


def _ended(name: str, requests: int, passed: bool = True) -> DrillResult:
    return DrillResult(name, "serve", 1.0, passed, requests)


def test_a_drill_costs_what_the_service_took_during_it(spinner: Spinner) -> None:
    meter = Meter(spinner)
    spinner.spin(0.3)
    meter.drill_begins(Drill(name="serve"))
    spinner.spin(0.5)
    meter.drill_ended(_ended("serve", 1000))
    spent, requests = meter.costs["serve"]
    assert requests == 1000
    assert 0.45 < spent < 0.8, "what came before the drill, 0.3 s, is not in it"


def test_a_drill_that_failed_and_the_end_of_the_service_cost_nothing(spinner: Spinner) -> None:
    meter = Meter(spinner)
    for name, passed in (("serve", False), ("stop", True)):
        meter.drill_begins(Drill(name=name))
        meter.drill_ended(_ended(name, 10, passed))
    assert meter.costs == {}


def test_time_of_a_process_is_its_own_and_that_of_its_children() -> None:
    fields = ["S", *map(str, range(4, 14)), "100", "20", "3", "4", "99"]
    assert stat_ticks(f"7 (odd ) 1 2 (name) {' '.join(fields)}") == 127
    assert stat_ticks(Path("/proc/self/stat").read_text()) >= 0
    assert cpu_seconds([]) == 0.0


def test_a_request_costs_its_share() -> None:
    assert Cost(2.5, 100_000).microseconds_per_request == 25.0


def test_the_drill_with_the_load_is_the_one_with_the_most_requests() -> None:
    costs = {"start": Cost(0.1, 0), "serve": Cost(4.0, 80_000), "reload": Cost(0.1, 12)}
    assert busiest_drill(costs, "nginx") == "serve"
    with pytest.raises(InputError, match="no drill of quiet puts it under load"):
        busiest_drill({"start": Cost(0.1, 3)}, "quiet")
    with pytest.raises(InputError, match="no drill"):
        busiest_drill({}, "quiet")


def test_only_the_loaded_drill_is_left_between_start_and_stop() -> None:
    drills = tuple(Drill(name=name) for name in ("start", "serve", "reload", "stop"))
    workload = Workload(
        name="x", command=("x",), ports=(80,), ready=Ready(tcp=80), drill=drills
    )  # fmt: skip
    assert [d.name for d in only_drill(workload, "serve").drills()] == ["start", "serve", "stop"]


def test_what_the_service_is_started_with_stays_when_one_drill_is_left() -> None:
    """The load of postgresql runs on a database that its start makes."""
    start = Drill(name="start", run=(Command(command=("createdb", "bench")),))
    workload = Workload(
        name="x", command=("x",), ports=(80,), ready=Ready(tcp=80),
        drill=(start, Drill(name="serve")),
    )  # fmt: skip
    assert only_drill(workload, "serve").drills()[0] == start
