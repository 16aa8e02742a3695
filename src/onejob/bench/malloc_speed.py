"""Benchmark ``malloc-speed``: malloc and free by the static memory manager, and by the others.

A program that does nothing else runs in turns under each allocator that is installed, in several
patterns. For ours each pattern is profiled and planned first, as a service's would be. The program
is pinned, and measures its own processor time; for forks, the time until the child has ended.
"""

import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import NamedTuple

from onejob.base.natives import native_path
from onejob.base.progress import Progress
from onejob.bench.arithmetic import take_turns
from onejob.bench.malloc_cost import ALLOCATORS, PATTERNS, pinned
from onejob.bench.promises import FORK_SPEED, MALLOC_SPEED_BEST, MALLOC_SPEED_LIBC, Promise
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.builder.memory import LIBRARY, PLAN_VARIABLE, MemoryOptions, memory_plan_text
from onejob.model.errors import OnejobError
from onejob.model.plan import MemoryArray
from onejob.model.profile import ProgramAllocation
from onejob.planner.memory import plan_arrays
from onejob.profiler.allocation_files import make_folder, read_allocations
from onejob.profiler.allocations import merge_allocations
from onejob.system.memory import read_memory_counts

ROUNDS = 7
PAIRS = 500_000
OURS, LIBC = "onejob", "libc"
FORK = "fork"
SPEED_PATTERNS = (*PATTERNS, "remote", FORK)
LEAST_STATIC = 0.999
_MEMORY = "/dev/shm"  # where images have their counts, too: in memory
_PROGRAM = "onejob-malloc-load"
_TIMEOUT_S = 120

Times = Mapping[str, Mapping[str, Sequence[float]]]
"""Nanoseconds by pattern and allocator, one for each round."""


class Load(NamedTuple):
    """What onejob-malloc-load is to do; `alone` is what is recorded of it, for each thread."""

    name: str
    words: tuple[str, ...]
    alone: tuple[str, ...]
    threads: int = 1


class Prepared(NamedTuple):
    """The allocators' names with the environment that brings each, for one load."""

    load: Load
    settings: dict[str, dict[str, str]]
    counts: Path


def measure_malloc_speed(_subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The worst pattern's ratio to glibc, to the best of the others, and that of forks."""
    progress.stage("malloc-speed")
    with tempfile.TemporaryDirectory(prefix="onejob-", dir=_MEMORY) as folder, pinned():
        times: dict[str, dict[str, list[float]]] = {}
        for number, pattern in enumerate(SPEED_PATTERNS):
            progress.step(pattern, number / len(SPEED_PATTERNS))
            times[pattern] = measure_pattern(pattern, Path(folder), PAIRS, ROUNDS)
    return judge_speed(times)


def measure_pattern(pattern: str, folder: Path, pairs: int, rounds: int) -> dict[str, list[float]]:
    """As `measure_load`, with that many pairs of one pattern."""
    # Of two threads one is recorded, and taken twice: whether they meet would be chance.
    alone = pattern.removesuffix("-threads")
    threads = 1 if alone == pattern else 2
    load = Load(pattern, (pattern, str(pairs)), (alone, str(pairs)), threads)
    return measure_load(load, folder / pattern, rounds)


def measure_load(load: Load, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Each allocator's times. OnejobError where ours were not nearly all from its arrays."""
    prepared = _prepare(load, folder)
    times: defaultdict[str, list[float]] = defaultdict(list)
    for name in take_turns(list(prepared.settings), rounds):
        times[name].append(float(_run(load.name, load.words, prepared.settings[name])))
    _need_static(prepared)
    return dict(times)


def _prepare(load: Load, folder: Path) -> Prepared:
    """Record the load, and plan its arrays."""
    counts, plan = folder / "counts", folder / "memory.plan"
    counts.mkdir(parents=True)
    plan.write_text(memory_plan_text(_arrays(load, folder), MemoryOptions(str(counts))))
    ours = {"LD_PRELOAD": str(native_path(LIBRARY).resolve()), PLAN_VARIABLE: str(plan)}
    others = {
        name.partition("_")[0]: {"LD_PRELOAD": library}
        for name in ALLOCATORS
        if (library := find_library(name))
    }
    return Prepared(load, {LIBC: {}, **others, OURS: ours}, counts)


def _arrays(load: Load, folder: Path) -> list[MemoryArray]:
    recordings = folder / "recordings"
    make_folder(recordings)
    recorder = str(native_path("libonejob_recorder.so").resolve())
    settings = {"LD_PRELOAD": recorder, "ONEJOB_RECORDER_DIR": str(recordings)}
    _run(load.name, load.alone, settings)
    return [
        array
        for program in merge_allocations(read_allocations(recordings))
        for array in plan_arrays(
            program.program,
            [
                ProgramAllocation(
                    program=program.program, block_size=size.size, peak=size.peak * load.threads,
                    allocated=size.allocated, freed=size.freed,
                )
                for size in program.sizes.values()
            ],
            load.threads,
        )
    ]  # fmt: skip


def _run(name: str, words: Sequence[str], settings: Mapping[str, str]) -> str:
    done = subprocess.run(
        [native_path(_PROGRAM), *words],
        env=settings,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode or done.stderr:
        why = done.stderr.strip() or done.returncode
        raise OnejobError(f"{name} with {settings}: the program failed: {why}")
    return done.stdout


def _need_static(prepared: Prepared) -> None:
    counts = read_memory_counts(prepared.counts / "1.counts")
    total = counts.static + counts.dynamic if counts else 0
    if counts is None or counts.static < LEAST_STATIC * total:
        raise OnejobError(
            f"{prepared.load.name}: of {total} blocks, {counts.static if counts else 0} came from "
            "the arrays: this measures another allocator",
            "run it again on a machine that is not busy",
        )


def judge_speed(times: Times) -> tuple[Result, ...]:
    """The three promises, with the medians of all allocators in all patterns."""
    medians = medians_of(times)
    fork = {FORK: medians[FORK]}
    pairs = {pattern: found for pattern, found in medians.items() if pattern != FORK}
    return (
        judge_ratios(MALLOC_SPEED_LIBC, pairs, {LIBC}),
        judge_ratios(MALLOC_SPEED_BEST, pairs, set(pairs["pair"]) - {OURS, LIBC} or {LIBC}),
        judge_ratios(FORK_SPEED, fork, {LIBC}),
    )


def medians_of(times: Times) -> dict[str, dict[str, float]]:
    """Nanoseconds by pattern and allocator."""
    return {
        pattern: {name: statistics.median(values) for name, values in found.items()}
        for pattern, found in times.items()
    }


def judge_ratios(
    promise: Promise, medians: Mapping[str, Mapping[str, float]], bases: set[str]
) -> Result:
    """Ours by the quickest of `bases`, in the worst pattern."""
    ratios = {
        pattern: found[OURS] / min(found[base] for base in bases)
        for pattern, found in medians.items()
    }
    values = [Value(name=pattern, value=ratio, unit="x") for pattern, ratio in ratios.items()]
    if bases == {LIBC}:  # once is enough
        values += [
            Value(name=f"{pattern} {name}", value=value, unit="ns")
            for pattern, found in medians.items()
            for name, value in found.items()
        ]
    return judge(promise, max(ratios.values()), values)
