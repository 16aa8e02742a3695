"""Traces of malloc: each request is there in order, and is replayed; foreign files are refused."""

import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from onejob.base.natives import native_path
from onejob.bench.malloc_speed import LIBC, OURS, Load, measure_load
from onejob.bench.malloc_traces import Trace, judge_traces, keep_trace, read_trace, read_traces
from onejob.model.errors import OnejobError
from onejob.profiler.allocation_files import make_folder

MADE, FREED = 1, 4
EVENT = struct.Struct("=QQ")


def record(folder: Path, *words: str) -> list[Trace]:
    make_folder(folder)
    settings = {
        "LD_PRELOAD": str(native_path("libonejob_recorder.so").resolve()),
        "ONEJOB_RECORDER_DIR": str(folder),
        "ONEJOB_RECORDER_TRACE": "yes",
    }
    command = [native_path("onejob-malloc-load"), *words]
    subprocess.run(command, env=settings, check=True, capture_output=True, timeout=20)
    return read_traces(folder)


def events(path: Path) -> list[tuple[int, int]]:
    """Kind and size of each."""
    found = EVENT.iter_unpack(path.read_bytes()[4096:])
    return [(first >> 56, size) for first, size in found if first]


def test_each_request_is_in_the_trace_and_none_beyond(tmp_path: Path) -> None:
    (trace,) = record(tmp_path / "recordings", "lifo", "2048")
    assert trace.program == str(native_path("onejob-malloc-load").resolve())
    found = Counter(events(trace.path))
    assert (found[MADE, 64], trace.events) == (1024 + 2048, found.total())
    stacks = [kind for kind, size in events(trace.path) if (kind, size) == (MADE, 64)]
    assert len(stacks) == 3072
    kept = tmp_path / "kept.trace"
    keep_trace(trace, kept)
    assert Counter(events(kept)) == found and kept.stat().st_size == 4096 + trace.events * 16


def test_a_child_by_fork_has_a_trace_of_its_own(tmp_path: Path) -> None:
    traces = record(tmp_path / "recordings", "fork", "4096")
    assert sorted(trace.events for trace in traces)[:2] == [1, 1]
    assert len(traces) == 1 + 2


def test_a_trace_is_replayed_under_each_allocator(tmp_path: Path) -> None:
    trace = max(record(tmp_path / "recordings", "sizes", "4096"), key=lambda one: one.events)
    words = ("replay", str(trace.path), "20000")
    times = measure_load(Load("sizes", words, words), tmp_path / "run", 2)
    assert {LIBC, OURS} <= times.keys()
    assert all(len(found) == 2 and min(found) > 0 for found in times.values())


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.trace"
    foreign.write_text("nothing")
    with pytest.raises(OnejobError, match="is no trace of malloc"):
        read_trace(foreign)
    words = [native_path("onejob-malloc-load"), "replay", foreign, "1000"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"onejob-malloc-load: {foreign} is no trace of malloc\n"
    (tmp_path / "link.trace").symlink_to(foreign)
    with pytest.raises(OnejobError, match="is no trace of malloc"):
        read_traces(tmp_path)


def test_the_worst_service_counts() -> None:
    results = judge_traces(
        {
            "nginx": {LIBC: [10, 20, 90], "tcmalloc": [5], OURS: [6, 6, 7]},
            "redis": {LIBC: [20], "tcmalloc": [8], OURS: [10]},
        }
    )
    assert [result.measured for result in results] == [0.5, 1.25]
    assert [str(value) for value in results[1].values] == ["nginx 1.2x", "redis 1.25x"]
