"""Benchmark ``malloc-traces``: malloc and free as real services call them, by each allocator.

Services of the gallery run under all their drills with the memory recorder, which writes each
request down. Of each service, the process with the most requests is replayed in turns under every
allocator (``native/recorder/load/replay.rs``), under ours with arrays planned for just that.
"""

import hashlib
import os
import stat
import struct
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from onejob.base.files import write_atomically
from onejob.base.linux import need_root
from onejob.base.natives import cache_path, data_path, native_path
from onejob.base.progress import Progress
from onejob.bench.malloc_cost import pinned
from onejob.bench.malloc_speed import LIBC, OURS, Load, judge_ratios, measure_load, medians_of
from onejob.bench.meter import meter_drills
from onejob.bench.promises import MALLOC_TRACES_BEST, MALLOC_TRACES_LIBC
from onejob.bench.result import Result
from onejob.bench.subject import Subject
from onejob.bench.watched import recorded_in
from onejob.model.errors import OnejobError
from onejob.model.workload import load_workload
from onejob.profiler.packages import need_packages
from onejob.profiler.profile import find_program
from onejob.profiler.sandbox_folder import recordings_folder

SERVICES = ("nginx", "apache2", "redis", "exim4", "postgresql", "gunicorn-flask")
ROUNDS = 5
PAIRS = 500_000
_HEADER_SIZE = 4096
_HEADER = struct.Struct("=8sQQ")  # magic, events, bytes of the program's path behind
_MAGIC = b"onejobMT"
_EVENT_SIZE = 16
_EVENTS = 2**19
_FILE_SIZE = _HEADER_SIZE + _EVENTS * _EVENT_SIZE
_MOST_PATH = 2048


class Trace(NamedTuple):
    """What one process asked of malloc; `events` may be more than there was room for."""

    path: Path
    program: str
    events: int


def measure_malloc_traces(_subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The worst service's ratio to glibc, and to the best of the others."""
    progress.stage("malloc-traces")
    times: dict[str, Mapping[str, Sequence[float]]] = {}
    for number, service in enumerate(SERVICES):
        progress.step(f"{service}: recording", number / len(SERVICES))
        trace = find_trace(service, cache_path() / "traces")
        progress.step(f"{service}: {min(trace.events, _EVENTS)} requests of {trace.program}")
        words = ("replay", str(trace.path), str(PAIRS))
        with tempfile.TemporaryDirectory(prefix="onejob-", dir="/dev/shm") as folder, pinned():
            times[service] = measure_load(Load(service, words, words), Path(folder) / "run", ROUNDS)
    return judge_traces(times)


def judge_traces(times: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[Result, Result]:
    """The two promises, with the medians of all allocators."""
    medians = medians_of(times)
    others = {name for found in medians.values() for name in found} - {OURS, LIBC} or {LIBC}
    return (
        judge_ratios(MALLOC_TRACES_LIBC, medians, {LIBC}),
        judge_ratios(MALLOC_TRACES_BEST, medians, others),
    )


def find_trace(service: str, cache: Path) -> Trace:
    """The trace of a service of the gallery: from `cache`, by content, else recorded now."""
    path = data_path("services") / service / "workload.toml"
    workload = load_workload(path)
    program = find_program(workload.command[0])
    digest = hashlib.sha256(path.read_bytes())
    for part in (Path(program), native_path("libonejob_recorder.so")):
        digest.update(part.read_bytes())
    kept = cache / f"{service}-{digest.hexdigest()[:32]}.trace"
    if not kept.exists():
        need_root("running a service in a sandbox")
        need_packages(workload.packages, service)
        cache.mkdir(parents=True, exist_ok=True)
        with recordings_folder() as folder:
            meter_drills(partial(recorded_in, folder=folder), workload)
            busiest = max(read_traces(folder / "keep" / "allocations"), key=lambda one: one.events)
            keep_trace(busiest, kept)
    return read_trace(kept)


def keep_trace(trace: Trace, place: Path) -> None:
    """Copy what of it has events."""
    size = _HEADER_SIZE + min(trace.events, _EVENTS) * _EVENT_SIZE
    with trace.path.open("rb") as file:
        write_atomically(place, file.read(size))


def read_traces(folder: Path) -> list[Trace]:
    """All that were begun; OnejobError where there is none."""
    found = [read_trace(path) for path in sorted(folder.glob("*.trace"))]
    if not any(trace.events for trace in found):
        raise OnejobError(f"no request was recorded in {folder}", "is its program a static one?")
    return found


def read_trace(path: Path) -> Trace:
    """Its header. The service can write to the folder: links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _foreign(path) from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        head = file.read(_HEADER_SIZE)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _FILE_SIZE or len(head) < _HEADER_SIZE:
        raise _foreign(path)
    magic, events, path_size = _HEADER.unpack_from(head)
    if magic != _MAGIC:  # its process was killed before it had begun
        events = 0
    program = head[_HEADER.size :][: min(path_size, _MOST_PATH)]
    return Trace(path, os.fsdecode(program), events)


def _foreign(path: Path) -> OnejobError:
    return OnejobError(f"{path} is no trace of malloc", "remove it, and run the benchmark again")
