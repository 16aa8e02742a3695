"""Results: judged against their bars, shown as a table, kept as JSON."""

import json

import pytest

from onejob.bench.boot import STOCK_LIMIT_S, Boot, judge_boots
from onejob.bench.events_lost import judge_lost
from onejob.bench.meter import Cost
from onejob.bench.profile_cost import judge_cost
from onejob.bench.promises import BOOT_RATIO, EVENTS_LOST, MEMORY_FLOOR, PROBE_COST, ROOT_FILES
from onejob.bench.result import BenchReport, Value, judge, make_report, table_rows, with_unit
from onejob.model.jsonfile import to_json
from onejob.profiler.recording import CallsSeen, Peaks, ProgramSeen, Recording


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (6.5, "MB", "6.5 MB"),
        (5.4321, "MB", "5.43 MB"),
        (300.0, "ms", "300 ms"),
        (143.7, "ms", "144 ms"),
        (40.0, "", "40"),
        (1 / 12, "x", "0.0833x"),
        (1.0, "x", "1x"),
        (4954995.0, "", "4954995"),
        (0.0, "", "0"),
    ],
)
def test_figures_have_as_few_digits_as_tell_something(value: float, unit: str, shown: str) -> None:
    assert with_unit(value, unit) == shown


def test_the_bar_itself_is_kept_and_more_is_not() -> None:
    assert judge(MEMORY_FLOOR, 20.0).passed
    assert not judge(MEMORY_FLOOR, 22.0).passed
    assert judge(EVENTS_LOST, 0.0).passed
    assert not judge(EVENTS_LOST, 1.0).passed


def test_a_row_has_promise_bar_and_figure() -> None:
    kept, broken = judge(ROOT_FILES, 35.0), judge(PROBE_COST, 1.4)
    assert table_rows([kept, broken]) == [
        ("image-size", ROOT_FILES.text, "<= 40", "35", "kept"),
        ("profile-cost", PROBE_COST.text, "<= 1.1x", "1.4x", "NOT KEPT"),
    ]


def test_a_report_round_trips() -> None:
    report = make_report([judge(PROBE_COST, 1.08, [Value(name="least", value=1.01, unit="x")])])
    text = to_json(report)
    assert BenchReport.model_validate_json(text) == report
    [row] = json.loads(text)["results"]
    assert row["measured"] == 1.08 and row["bar"] == 1.1 and row["passed"] is True
    assert row["values"] == [{"name": "least", "value": 1.01, "unit": "x"}]


def test_boots_are_compared_by_their_medians() -> None:
    ours = [Boot(2.0, 1.9), Boot(9.0, 1.7), Boot(2.25, 1.8)]
    result = judge_boots(ours, [Boot(40.0, 30.0), Boot(20.0, 34.0)])
    assert result.promise == BOOT_RATIO.text
    assert result.measured == pytest.approx(0.075) and result.passed
    assert [(v.name, v.value) for v in result.values] == [
        ("ours", 2.25),
        ("stock", 30.0),
        ("processor time of ours", 1.8),
        ("processor time of stock", 32.0),
        ("stock boots cut short", 0),
        ("ratio of processor times", 1.8 / 32.0),
    ]


def test_a_stock_boot_that_was_cut_short_counts_in_its_favour() -> None:
    result = judge_boots([Boot(3.0, 1.0)], [Boot(STOCK_LIMIT_S, 60.0)])
    assert result.measured == pytest.approx(3.0 / STOCK_LIMIT_S)
    assert next(v.value for v in result.values if v.name == "stock boots cut short") == 1


def test_profiling_costs_the_median_of_the_ratios_of_each_round() -> None:
    bases = [Cost(1.0, 100_000), Cost(2.0, 100_000), Cost(1.0, 50_000)]  # 10, 20, 20 us
    watched = [Cost(1.1, 100_000), Cost(2.6, 100_000), Cost(2.4, 100_000)]  # 11, 26, 24 us
    result = judge_cost(PROBE_COST, watched, bases)
    assert result.measured == pytest.approx(1.2) and not result.passed
    values = {value.name: value.value for value in result.values}
    assert values == pytest.approx(
        {"least": 1.1, "most": 1.3, "unwatched": 20, "watched": 24, "requests": 300_000}
    )


def _recording(lost: dict[str, int], count: int) -> Recording:
    seen = CallsSeen(program=0, drill=0, nr=0, count=count)
    program = ProgramSeen(id=0, path="/x")
    return Recording(
        format=2, backend="ebpf", drills=("start",), lost=lost, programs=(program,),
        calls=(seen, seen), facts=(), files=(), peaks=Peaks(),
    )  # fmt: skip


def test_losses_of_every_kind_and_run_are_added() -> None:
    clean = judge_lost([_recording({"events": 0, "paths_truncated": 0}, 23)])
    assert clean.measured == 0 and clean.passed and clean.values[0].value == 46
    lossy = judge_lost([_recording({"events": 2, "paths": 1}, 1), _recording({"events": 4}, 1)])
    assert lossy.measured == 7 and not lossy.passed
