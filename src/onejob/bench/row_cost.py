"""Benchmark ``row-cost``: processor time per request under policy and rows, by that without.

The image and one built from the same plan, but for the filters, run in turns on this host under the
workload's load drill. Process 1 counts with the service: it is the tracer.
"""

import os
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from onejob.base.natives import cache_path
from onejob.base.progress import Progress
from onejob.bench.arithmetic import ratios, spread, take_turns
from onejob.bench.meter import Cost, Meter, busiest_drill, only_drill
from onejob.bench.promises import ROW_COST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.builder.image import build_image
from onejob.drive.drills import run_drills
from onejob.drive.ready import wait_ready
from onejob.drive.target import Process
from onejob.model.image import Image
from onejob.model.workload import Workload
from onejob.system.host import HostInstance, host_instance

ROUNDS = 7


def measure_row_cost(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The median of the ratios of ROUNDS pairs."""
    image, workload = subject.image, subject.workload
    with tempfile.TemporaryDirectory(prefix="onejob-row-cost-") as folder:
        bare = _without_filters(image, Path(folder) / f"{image.plan.name}.onejob", progress)
        progress.stage("row-cost")
        progress.step("all drills once, to find the one with the load")
        load = busiest_drill(_meter(image, workload), workload.name)
        loaded = only_drill(workload, load)
        images = {"filtered": image, "bare": bare}
        taken: defaultdict[str, list[Cost]] = defaultdict(list)
        turns = take_turns(list(images), ROUNDS)
        for number, name in enumerate(turns):
            progress.step(f"drill {load}, {name}", number / len(turns))
            taken[name].append(_meter(images[name], loaded)[load])
    return (judge_rows(taken["filtered"], taken["bare"]),)


def judge_rows(filtered: Sequence[Cost], bare: Sequence[Cost]) -> Result:
    """The median ratio, with what it was made of."""
    costs, bases = ([c.microseconds_per_request for c in each] for each in (filtered, bare))
    found = spread(ratios(costs, bases))
    values = (
        Value(name="least", value=found.least, unit="x"),
        Value(name="most", value=found.most, unit="x"),
        Value(name="without a filter", value=spread(bases).median, unit="us"),
        Value(name="with policy and rows", value=spread(costs).median, unit="us"),
        Value(name="requests", value=sum(cost.requests for cost in filtered), unit=""),
    )
    return judge(ROW_COST, found.median, values)


def _without_filters(image: Image, place: Path, progress: Progress) -> Image:
    """The same image, its service under no filter and no tracer."""
    plan = image.plan.model_copy(update={"denied": "off"})
    xml = image.profile.read_text()
    return build_image(plan, xml, place, with_kernel=False, cache=cache_path(), progress=progress)


def _meter(image: Image, workload: Workload) -> dict[str, Cost]:
    with host_instance(image, host_network=workload.network == "host") as instance:
        wait_ready(instance, workload, instance.since)
        meter = Meter(OnHost(instance))
        run_drills(instance, workload, meter)
    return meter.costs


class OnHost:
    """The processes of an instance, process 1 too, by their numbers on this host."""

    def __init__(self, instance: HostInstance) -> None:
        self._instance = instance

    def processes(self) -> tuple[Process, ...]:
        """A process is known by its number inside and by when it was started."""
        inside = {(process.pid, process.start): process for process in self._instance.processes()}
        found: list[Process] = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError, KeyError):
                number, start, parent = _identity(int(name))
                process = inside[number, start]
                found.append(process._replace(pid=int(name), parent=parent))
        pids = {process.pid for process in found}
        tops = {process.parent: process for process in found if process.parent not in pids}
        return (*found, *(process._replace(pid=pid, parent=0) for pid, process in tops.items()))


def _identity(pid: int) -> tuple[int, int, int]:
    """Its number in its innermost PID namespace, when it was started (ticks), and its parent."""
    status = Path(f"/proc/{pid}/status").read_text()
    inner = next(line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(inner), int(fields[19]), int(fields[1])
