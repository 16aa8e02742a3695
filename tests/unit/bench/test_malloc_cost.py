"""The cost of recording malloc: the worst case counts, and only what was really recorded."""

import subprocess
from pathlib import Path

import pytest

from onejob.base.natives import native_path
from onejob.bench.malloc_cost import Case, Pair, all_cases, judge_added, measure_case
from onejob.bench.malloc_speed import SPEED_PATTERNS
from onejob.bench.promises import MALLOC_COST
from onejob.model.errors import OnejobError
from onejob.profiler.allocation_files import make_folder, read_allocations

PAIRS = 2048


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    make_folder(tmp_path / "recordings")
    return tmp_path / "recordings"


def load(*words: str) -> subprocess.CompletedProcess[str]:
    command = [native_path("onejob-malloc-load"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_every_case_is_measured_and_leaves_nothing(case: Case, recordings: Path) -> None:
    pair = measure_case(case, recordings, PAIRS)
    assert pair.unwatched > 0 and pair.recorded > 0
    assert read_allocations(recordings) == ()


def test_a_run_that_was_not_recorded_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(OnejobError, match="cannot list the allocation recordings"):
        measure_case(Case("pair", ""), tmp_path / "nowhere", PAIRS)


def test_a_folder_with_more_than_this_run_is_no_measurement(recordings: Path) -> None:
    (recordings / "other.allocations").write_bytes(b"")  # of a process that was killed
    (recordings / "another.allocations").symlink_to(native_path("onejob-malloc-load"))
    with pytest.raises(OnejobError, match="is not an allocation recording"):
        measure_case(Case("pair", ""), recordings, PAIRS)


def test_the_worst_median_is_what_counts() -> None:
    quick, slow = Case("pair", ""), Case("lifo", "libjemalloc.so.2")
    result = judge_added(
        {
            quick: [Pair(10, 15), Pair(20, 24), Pair(10, 90)],
            slow: [Pair(10, 23), Pair(30, 41), Pair(1, 14)],
        }
    )
    assert (result.promise, result.bar) == (MALLOC_COST.text, 12)
    assert (result.measured, result.passed) == (13, False)
    assert [str(value) for value in result.values] == [
        "libc pair 5 ns", "jemalloc lifo 13 ns", "jemalloc lifo unwatched 10 ns",
    ]  # fmt: skip


def test_the_program_knows_these_patterns_and_no_other() -> None:
    done = load("nothing", str(PAIRS))
    assert done.returncode == 2 and done.stdout == ""
    assert f"onejob-malloc-load {'|'.join(SPEED_PATTERNS)} PAIRS" in done.stderr


@pytest.mark.parametrize("pairs", ["-1", "0", "1023", "many", ""])
def test_the_program_needs_enough_pairs(pairs: str) -> None:
    assert load("pair", pairs).returncode == 2
