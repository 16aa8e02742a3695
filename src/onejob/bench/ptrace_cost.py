"""Benchmark ``ptrace-cost``: what the fallback without eBPF costs, beside strace.

Each run starts the service afresh in the profiler's sandbox and puts it under its load drill. The
places take turns. The tracer's processor time counts, too: it works while the service waits for it.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from onejob.base.linux import need_root
from onejob.base.progress import Progress
from onejob.bench.arithmetic import ratios, spread, take_turns
from onejob.bench.meter import Cost, HasProcesses, Meter, busiest_drill, meter_drills, only_drill
from onejob.bench.promises import PTRACE_COST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.bench.watched import Place, straced, straced_counting, traced, unwatched
from onejob.drive.drills import DrillResult, run_drills
from onejob.drive.ready import wait_ready
from onejob.drive.target import Process
from onejob.model.workload import Drill, Workload

ROUNDS = 3
PLACES: dict[str, Place] = {
    "unwatched": unwatched,
    "ptrace": traced,
    "strace -f": straced,
    "strace -f -c": straced_counting,
}


class Costs(NamedTuple):
    """What a drill took of the service, and of the service and its tracer together."""

    service: Cost
    together: Cost


class WithTracer:
    """A service's processes, and the process that traces the first of them, if one does."""

    def __init__(self, service: HasProcesses) -> None:
        self._service = service

    def processes(self) -> tuple[Process, ...]:
        """All of them."""
        found = self._service.processes()
        tracer = _tracer_of(found[0].pid) if found else 0
        return (*found, Process(tracer, 0, 0, "")) if tracer else found


class _Both:
    """Two observers of the same drills."""

    def __init__(self, *meters: Meter) -> None:
        self._meters = meters

    def drill_begins(self, drill: Drill) -> None:
        for meter in self._meters:
            meter.drill_begins(drill)

    def drill_ended(self, result: DrillResult) -> None:
        for meter in self._meters:
            meter.drill_ended(result)


def measure_ptrace_cost(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The median of ROUNDS ratios."""
    need_root("running a service in a sandbox")
    workload = subject.workload
    progress.stage("ptrace-cost")
    progress.step("all drills once, to find the one with the load")
    load = busiest_drill(meter_drills(unwatched, workload), workload.name)
    loaded = only_drill(workload, load)
    taken: defaultdict[str, list[Costs]] = defaultdict(list)
    turns = take_turns(list(PLACES), ROUNDS)
    for number, name in enumerate(turns):
        progress.step(f"drill {load}, {name}", number / len(turns))
        taken[name].append(_meter(PLACES[name], loaded, load))
    return (judge_cost(taken),)


def _meter(place: Place, workload: Workload, load: str) -> Costs:
    with place(workload) as service:
        wait_ready(service, workload, time.monotonic())
        alone, together = Meter(service), Meter(WithTracer(service))
        run_drills(service, workload, _Both(alone, together))
    return Costs(alone.costs[load], together.costs[load])


def judge_cost(taken: dict[str, list[Costs]]) -> Result:
    """Of the costs by place: the fallback's by strace's, and each by that of no tracer."""

    def ratio(name: str, base: str, part: str = "together") -> float:
        costs = [getattr(cost, part).microseconds_per_request for cost in taken[name]]
        bases = [getattr(cost, part).microseconds_per_request for cost in taken[base]]
        return spread(ratios(costs, bases)).median

    values = [Value(name=f"{name}, of unwatched", value=ratio(name, "unwatched"), unit="x")
              for name in PLACES if name != "unwatched"]  # fmt: skip
    values += [
        Value(name="of strace -f -c", value=ratio("ptrace", "strace -f -c"), unit="x"),
        Value(name="service alone", value=ratio("ptrace", "strace -f", "service"), unit="x"),
        Value(name="requests", value=_requests(taken["ptrace"]), unit=""),
    ]
    return judge(PTRACE_COST, ratio("ptrace", "strace -f"), values)


def _requests(costs: Sequence[Costs]) -> int:
    return sum(cost.together.requests for cost in costs)


def _tracer_of(pid: int) -> int:
    """Who traces `pid` (proc(5), status); 0 for nobody."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return int(next(line for line in lines if line.startswith("TracerPid:")).split()[1])
