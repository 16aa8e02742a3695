"""Benchmark ``malloc-cost``: what the memory recorder adds to a pair of malloc and free.

A program that does nothing else runs in turns without and with the recorder, in several patterns
and under each allocator that is installed. It is pinned, and measures its own processor time.
"""

import os
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path
from typing import NamedTuple

from onejob.base.natives import native_path
from onejob.base.progress import Progress
from onejob.bench.promises import MALLOC_COST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.model.errors import OnejobError
from onejob.profiler.allocation_files import make_folder, read_allocations

ROUNDS = 9
PAIRS = 1_000_000
PATTERNS = ("pair", "lifo", "fifo", "sizes", "pair-threads", "sizes-threads")
ALLOCATORS = ("jemalloc", "tcmalloc_minimal", "mimalloc")
"""Libraries that are preloaded where they are installed; the C library's is always measured."""
_TIMEOUT_S = 60


class Case(NamedTuple):
    """One pattern under one allocator."""

    pattern: str
    allocator: str
    """What is preloaded; empty for the C library's."""

    def __str__(self) -> str:
        return f"{self.allocator.partition('.')[0].removeprefix('lib') or 'libc'} {self.pattern}"


class Pair(NamedTuple):
    """Nanoseconds of a malloc and its free, as measured one after the other."""

    unwatched: float
    recorded: float


def measure_malloc_cost(_subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The median of what is added, in the worst of all cases."""
    progress.stage("malloc-cost")
    found: defaultdict[Case, list[Pair]] = defaultdict(list)
    cases = all_cases()
    turns = [case for _ in range(ROUNDS) for case in cases]
    with tempfile.TemporaryDirectory(prefix="onejob-") as folder, pinned():
        recordings = Path(folder) / "recordings"
        make_folder(recordings)
        for number, case in enumerate(turns):
            progress.step(str(case), number / len(turns))
            found[case].append(measure_case(case, recordings, PAIRS))
    return (judge_added(found),)


def all_cases() -> list[Case]:
    """Every pattern under every allocator that is here."""
    libraries = [library for name in ALLOCATORS if (library := find_library(name))]
    return [Case(pattern, library) for library in ("", *libraries) for pattern in PATTERNS]


def judge_added(found: Mapping[Case, Sequence[Pair]]) -> Result:
    """The worst of the cases' medians, with all of them.

    And what that case takes unwatched: on a busy machine, both are as many times what they are on
    an idle one.
    """
    added = {
        case: statistics.median(pair.recorded - pair.unwatched for pair in pairs)
        for case, pairs in found.items()
    }
    values = [Value(name=str(case), value=value, unit="ns") for case, value in added.items()]
    worst = max(added, key=lambda case: added[case])
    unwatched = statistics.median(pair.unwatched for pair in found[worst])
    values.append(Value(name=f"{worst} unwatched", value=unwatched, unit="ns"))
    return judge(MALLOC_COST, added[worst], values)


def measure_case(case: Case, recordings: Path, pairs: int) -> Pair:
    """Both runs of one case. OnejobError where not all blocks were recorded: that costs less."""
    unwatched = _run(case, {"LD_PRELOAD": case.allocator}, pairs)
    preload = f"{native_path('libonejob_recorder.so').resolve()}:{case.allocator}"
    settings = {"LD_PRELOAD": preload, "ONEJOB_RECORDER_DIR": str(recordings)}
    recorded = _run(case, settings, pairs)
    _need_all_recorded(case, recordings, pairs)
    return Pair(unwatched, recorded)


def _run(case: Case, settings: Mapping[str, str], pairs: int) -> float:
    done = subprocess.run(
        [native_path("onejob-malloc-load"), case.pattern, str(pairs)],
        env=settings,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode or done.stderr:
        raise OnejobError(f"{case}: the program failed: {done.stderr.strip() or done.returncode}")
    return float(done.stdout)


def _need_all_recorded(case: Case, recordings: Path, pairs: int) -> None:
    """See that the run left its one recording, with all of its blocks, and remove that."""
    found = read_allocations(recordings)
    for path in recordings.glob("*.allocations"):
        path.unlink()
    counted = sum(size.freed for process in found for size in process.sizes.values())
    if len(found) != 1 or counted < pairs or found[0].overflow or found[0].untagged:
        raise OnejobError(f"{case}: {counted} of {pairs} pairs are in {len(found)} recordings")


@contextmanager
def pinned() -> Iterator[None]:
    """Keep this thread, and what it starts, on two processors: one for each thread."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[-2:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
