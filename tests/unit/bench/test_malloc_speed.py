"""The speed of malloc: every pattern is measured on planned arrays, and the worst one counts."""

from pathlib import Path

import pytest

from onejob.bench.malloc_speed import (
    FORK,
    LIBC,
    OURS,
    SPEED_PATTERNS,
    judge_speed,
    measure_pattern,
)
from onejob.bench.promises import FORK_SPEED, MALLOC_SPEED_BEST, MALLOC_SPEED_LIBC
from onejob.model.errors import OnejobError


@pytest.mark.parametrize("pattern", SPEED_PATTERNS)
def test_every_pattern_is_recorded_planned_and_measured(pattern: str, tmp_path: Path) -> None:
    times = measure_pattern(pattern, tmp_path, 4096, 2)
    assert {LIBC, OURS} <= times.keys()
    assert all(len(found) == 2 and min(found) > 0 for found in times.values())


def test_a_pattern_that_the_program_does_not_know_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(OnejobError, match=r"nothing with .*: the program failed: usage"):
        measure_pattern("nothing", tmp_path, 4096, 1)


def test_the_worst_pattern_is_compared_with_glibc_and_with_the_best() -> None:
    results = judge_speed(
        {
            "pair": {LIBC: [10, 20, 90], "jemalloc": [8], "tcmalloc": [5], OURS: [6, 6, 7]},
            "lifo": {LIBC: [20], "jemalloc": [4], "tcmalloc": [8], OURS: [10]},
            FORK: {LIBC: [100], "jemalloc": [90], "tcmalloc": [300], OURS: [110]},
        }
    )
    assert [result.promise for result in results] == [
        MALLOC_SPEED_LIBC.text, MALLOC_SPEED_BEST.text, FORK_SPEED.text,
    ]  # fmt: skip
    assert [result.measured for result in results] == [0.5, 2.5, 1.1]
    assert [result.passed for result in results] == [True, False, False]
    assert [str(value) for value in results[1].values] == ["pair 1.2x", "lifo 2.5x"]


def test_alone_with_glibc_that_is_the_best() -> None:
    results = judge_speed({"pair": {LIBC: [10], OURS: [5]}, FORK: {LIBC: [10], OURS: [5]}})
    assert [result.measured for result in results] == [0.5, 0.5, 0.5]
