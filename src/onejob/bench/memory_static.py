"""Benchmark ``memory-static``: whether an image's memory is what the plan laid out, and stays so.

The image runs on this host. All drills once: how many blocks came from the arrays. Then its load
drill over and over: what its processes hold, and how often they fault for a page, from ready on.
"""

import base64
import time
from collections.abc import Mapping
from typing import NamedTuple

from onejob.base.progress import Progress
from onejob.bench.meter import Cost, busiest_drill, only_drill
from onejob.bench.promises import MEMORY_FAULTS, MEMORY_GROWTH, MEMORY_RELAYED
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.drive.drills import DrillResult, run_drills
from onejob.drive.ready import wait_ready
from onejob.drive.target import Process
from onejob.model.errors import InputError, ServiceError
from onejob.model.image import Image
from onejob.model.observations import MemoryUse
from onejob.model.workload import Drill, Workload
from onejob.system.host import HostInstance, host_instance

_LARGEST_TEXT = 32 * 1024


class Held(NamedTuple):
    """What a process holds: KiB (its share of what is shared), and its faults since its start."""

    resident_kib: int
    anonymous_kib: int
    faults: int


Look = Mapping[Process, Held]


def measure_memory_static(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """Three promises; the load goes on for `subject.load_seconds`."""
    image, workload = subject.image, subject.workload
    if image.plan.memory_manager.kind == "none":
        raise InputError(
            f"{image.folder} has no memory manager: {image.plan.memory_manager.reason}",
            "build it with --memory static",
        )
    progress.stage("memory-static")
    progress.step("all drills once")
    once = run_watched(image, workload, 0)
    load = busiest_drill(once.requests, workload.name)
    progress.step(f"drill {load} for {subject.load_seconds:g} s")
    long = run_watched(image, only_drill(workload, load), subject.load_seconds)
    return (judge_relayed(once.memory), *judge_looks(long.ready, long.loaded, subject.load_seconds))


def run_watched(image: Image, workload: Workload, seconds: float) -> "Watcher":
    """Run `image` under the drills of `workload`, those between start and stop for `seconds`."""
    with host_instance(image, host_network=workload.network == "host") as instance:
        wait_ready(instance, workload, instance.since)
        watcher = Watcher(instance)
        until = time.monotonic() + seconds
        run_drills(instance, workload, watcher, lambda: time.monotonic() < until)
    return watcher


class Watcher:
    """An Observer of drills: looks at the service when it is ready, and before it is stopped."""

    def __init__(self, instance: HostInstance) -> None:
        self._instance = instance
        self.ready: Look = {}
        self.loaded: Look = {}
        self.memory: tuple[MemoryUse, ...] = ()
        self.requests: dict[str, Cost] = {}

    def drill_begins(self, drill: Drill) -> None:
        """The drill start is over when the next one begins: the service is ready."""
        if drill.name != "start" and not self.ready:
            self.ready = look(self._instance)
        if drill.name == "stop":
            self.loaded = look(self._instance)
            self.memory = self._instance.observations().memory

    def drill_ended(self, result: DrillResult) -> None:
        """How many requests there were tells the drill with the load."""
        self.requests[result.name] = Cost(0, result.requests)


def look(instance: HostInstance) -> Look:
    """What each process holds now; those that end meanwhile are left out."""
    found = {}
    for process in instance.processes():
        try:
            stat = _read(instance, f"/proc/{process.pid}/stat")
            sums = _read(instance, f"/proc/{process.pid}/smaps_rollup")
            found[process] = parse_held(stat, sums)
        except (ServiceError, LookupError):
            continue
    return found


def _read(instance: HostInstance, path: str) -> str:
    reply = instance.ask("read", path=path, offset=0, length=_LARGEST_TEXT)
    return base64.b64decode(reply["data"]).decode()


def parse_held(stat: str, sums: str) -> Held:
    """From a /proc/PID/stat and a /proc/PID/smaps_rollup (proc(5)); LookupError for others."""
    fields = stat.rpartition(")")[2].split()
    kib = {line.partition(":")[0]: line.split()[1] for line in sums.splitlines()[1:]}
    return Held(int(kib["Pss"]), int(kib["Pss_Anon"]), int(fields[7]) + int(fields[9]))


def judge_relayed(memory: tuple[MemoryUse, ...]) -> Result:
    """Of all programs together; an InputError where nothing was counted."""
    given, relayed = sum(use.static for use in memory), sum(use.dynamic for use in memory)
    if not given + relayed:
        raise InputError("no block was counted in this image", "profile the service again")
    values = [
        Value(name="from arrays", value=given, unit=""),
        Value(name="relayed", value=relayed, unit=""),
    ]
    return judge(MEMORY_RELAYED, 100 * relayed / (given + relayed), values)


def judge_looks(ready: Look, loaded: Look, seconds: float) -> tuple[Result, Result]:
    """Growth of all processes together, and the faults of those that were there all the time.

    Pages of files are not growth: the kernel keeps and drops them as the whole machine needs.
    """
    before = sum(held.resident_kib for held in ready.values())
    grown = _anonymous_kib(loaded) - _anonymous_kib(ready)
    stayed = [process for process in loaded if process in ready]
    faults = sum(loaded[process].faults - ready[process].faults for process in stayed)
    growth = (
        Value(name="at ready", value=before, unit="KiB"),
        Value(name="grown", value=grown, unit="KiB"),
        Value(name="load", value=seconds, unit="s"),
    )
    counts = (
        Value(name="processes", value=len(stayed), unit=""),
        Value(name="new processes", value=len(loaded) - len(stayed), unit=""),
    )
    return judge(MEMORY_GROWTH, (before + grown) / before, growth), judge(
        MEMORY_FAULTS, faults, counts
    )


def _anonymous_kib(found: Look) -> int:
    return sum(held.anonymous_kib for held in found.values())
