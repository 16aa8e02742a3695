"""What a service's requests cost: its processor time before and after each drill."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from onejob.bench.watched import Place
from onejob.drive.drills import DrillResult, run_drills
from onejob.drive.ready import wait_ready
from onejob.drive.target import Process
from onejob.model.errors import InputError
from onejob.model.workload import Drill, Workload

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What one drill took of the service."""

    cpu_seconds: float
    requests: int

    @property
    def microseconds_per_request(self) -> float:
        """Processor time for one request."""
        return self.cpu_seconds * 1e6 / self.requests


class HasProcesses(Protocol):
    """As much of a Target as is metered."""

    def processes(self) -> tuple[Process, ...]:
        """All processes of the service."""


class Meter:
    """An Observer of drills: the cost of each that passed while the service went on."""

    def __init__(self, service: HasProcesses) -> None:
        self._service = service
        self._before = 0.0
        self.costs: dict[str, Cost] = {}

    def drill_begins(self, drill: Drill) -> None:
        """Look at the clock of every process."""
        self._before = cpu_seconds(self._service.processes())

    def drill_ended(self, result: DrillResult) -> None:
        """Look again. After the drill stop there is nothing left to look at."""
        if result.passed and result.name != "stop":
            spent = cpu_seconds(self._service.processes()) - self._before
            self.costs[result.name] = Cost(spent, result.requests)


def cpu_seconds(processes: Sequence[Process]) -> float:
    """User and system time of `processes` and of their children that they have waited for."""
    ticks = 0
    for process in processes:
        with suppress(OSError):
            ticks += stat_ticks(Path(f"/proc/{process.pid}/stat").read_text())
    return ticks / TICKS_PER_SECOND


def stat_ticks(text: str) -> int:
    """utime, stime, cutime and cstime of a /proc/PID/stat (proc(5), fields 14 to 17), added."""
    return sum(int(field) for field in text.rpartition(")")[2].split()[11:15])


def meter_drills(place: Place, workload: Workload) -> dict[str, Cost]:
    """Run the service of `workload` at `place` under all its drills; the cost of each."""
    with place(workload) as service:
        wait_ready(service, workload, time.monotonic())
        meter = Meter(service)
        run_drills(service, workload, meter)
    return meter.costs


def only_drill(workload: Workload, name: str) -> Workload:
    """`workload` with `name` as its one drill between start and stop, which stay as they are."""
    kept = tuple(drill for drill in workload.drill if drill.name in ("start", name, "stop"))
    return workload.model_copy(update={"drill": kept})


def busiest_drill(costs: dict[str, Cost], name: str) -> str:
    """The drill with the most requests: the one that has a load generator.

    InputError where no drill of the workload `name` says how many requests it made.
    """
    drill, cost = max(costs.items(), key=lambda item: item[1].requests, default=("", Cost(0, 0)))
    if cost.requests < 100:
        hint = "give it a drill that runs wrk, ab or redis-benchmark"
        raise InputError(f"no drill of {name} puts it under load", hint)
    return drill
