"""What a benchmark gives: measured figures, each with the bar that was promised."""

import os
import platform
from collections.abc import Iterable
from typing import Literal

from onejob import __version__
from onejob.bench.promises import Promise
from onejob.model.noun import Noun

HEADS = ("benchmark", "promise", "bar", "measured", "")


class Value(Noun):
    """One further figure that was seen on the way."""

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name} {with_unit(self.value, self.unit)}"


class Result(Noun):
    """What came of one promise. `measured` is in `unit`, and kept where it is at most `bar`."""

    benchmark: str
    promise: str
    bar: float
    unit: str
    measured: float
    passed: bool
    values: tuple[Value, ...] = ()


class BenchReport(Noun):
    """The file form: results, and where they were measured."""

    format: Literal[1] = 1
    onejob: str
    kernel: str
    processors: int
    results: tuple[Result, ...]


def judge(promise: Promise, measured: float, values: Iterable[Value] = ()) -> Result:
    """The result for `promise`."""
    return Result(
        benchmark=promise.benchmark,
        promise=promise.text,
        bar=promise.bar,
        unit=promise.unit,
        measured=measured,
        passed=measured <= promise.bar,
        values=tuple(values),
    )


def make_report(results: Iterable[Result]) -> BenchReport:
    """`results` with what they were measured on."""
    return BenchReport(
        onejob=__version__,
        kernel=platform.release(),
        processors=len(os.sched_getaffinity(0)),
        results=tuple(results),
    )


def table_rows(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """A row for each result, under HEADS."""
    return [
        (
            result.benchmark,
            result.promise,
            f"<= {with_unit(result.bar, result.unit)}",
            with_unit(result.measured, result.unit),
            "kept" if result.passed else "NOT KEPT",
        )
        for result in results
    ]


def with_unit(value: float, unit: str) -> str:
    """``6.5 MB``, ``1.08x``, ``40``: as few digits as tell something."""
    if unit == "x":
        return f"{value:.3g}x"
    number = f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{number} {unit}".rstrip()
