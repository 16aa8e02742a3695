"""The cost of noting unexpected files: what is there counts, and only what was really noted."""

from pathlib import Path

import pytest

from onejob.base.progress import Quiet
from onejob.bench.path_cost import (
    ABSENT,
    FUNCTIONS,
    THERE,
    UNEXPECTED,
    Call,
    Case,
    judge_added,
    measure_cases,
)
from onejob.bench.promises import PATH_COST
from onejob.model.errors import OnejobError
from onejob.system.memory import read_unexpected_files

CALLS, ROUNDS = 100, 2


def test_every_case_is_measured_and_the_unexpected_path_is_noted(tmp_path: Path) -> None:
    found = measure_cases(tmp_path, CALLS, ROUNDS, Quiet())
    assert set(found) == {Case(f, k) for f in FUNCTIONS for k in (THERE, ABSENT, UNEXPECTED)}
    assert all(call.plain > 0 and call.watched > 0 for calls in found.values() for call in calls)
    [noted], others = read_unexpected_files(tmp_path / "1.counts")
    assert (noted.path, noted.count, others) == (str(tmp_path / UNEXPECTED), 4 * (CALLS + 1), 0)


def test_a_run_that_noted_something_else_is_no_measurement(tmp_path: Path) -> None:
    measure_cases(tmp_path, CALLS, ROUNDS, Quiet())
    with pytest.raises(OnejobError, match="noted were"):
        measure_cases(tmp_path, CALLS, ROUNDS, Quiet())  # on top of the first counts


def test_the_worse_function_for_what_is_there_counts() -> None:
    result = judge_added(
        {
            Case("open", THERE): [Call(100, 104), Call(100, 102), Call(200, 290)],
            Case("stat", THERE): [Call(50, 51)],
            Case("stat", ABSENT): [Call(50, 350)],
        }
    )
    assert (result.promise, result.measured, result.passed) == (PATH_COST.text, 4, True)
    assert "stat absent 300 ns" in [str(value) for value in result.values]
