"""How the figures of memory-static come from what process 1 shows of the service."""

import pytest

from onejob.bench.memory_static import Held, judge_looks, judge_relayed, parse_held
from onejob.drive.target import Process
from onejob.model.errors import InputError
from onejob.model.observations import ArrayUse, MemoryUse, UnexpectedSize

STAT = "7 (a) b) S 1 7 7 0 -1 4194560 152 9 10 0 3 4 0 0 20 0 1 0 100 1 2 3"
SUMS = """\
55d0-7ffd ---p 00000000 00:00 0                                  [rollup]
Rss:                8444 kB
Pss:                6160 kB
Pss_Dirty:          1100 kB
Pss_Anon:           1048 kB
"""


def test_faults_and_memory_of_a_process() -> None:
    assert parse_held(STAT, SUMS) == Held(resident_kib=6160, anonymous_kib=1048, faults=162)
    for stat, sums in ((STAT, ""), ("", SUMS), ("7 (a", SUMS)):
        with pytest.raises(LookupError):
            parse_held(stat, sums)


def use(given: int, relayed: int, **more: int) -> MemoryUse:
    array = ArrayUse(block_size=16, blocks=9, given=given, relayed=relayed, most_taken=3)
    sizes = (UnexpectedSize(size=99, count=more.pop("unexpected", 0)),)
    fields = {"other_sizes": 0, "large": 0, "faults": 0, "uncounted": 0, **more}
    return MemoryUse(program="/p", arrays=(array, array), unexpected=sizes, **fields)


def test_each_way_to_be_relayed_counts() -> None:
    result = judge_relayed((use(450, 1, unexpected=2), use(35, 0, other_sizes=3, large=23)))
    assert [value.value for value in result.values] == [970, 30]
    assert (result.measured, result.passed) == (3.0, False)
    assert judge_relayed((use(5000, 1),)).passed


def test_an_image_whose_blocks_nobody_counted_measures_nothing() -> None:
    with pytest.raises(InputError, match="no block was counted"):
        judge_relayed(())


def process(pid: int) -> Process:
    return Process(pid, 1, 100 + pid, "/p")


def test_growth_is_of_all_and_faults_are_of_those_that_stayed() -> None:
    ready = {process(1): Held(1000, 100, 50), process(2): Held(500, 50, 40)}
    loaded = {process(1): Held(5, 128, 53), process(3): Held(7, 52, 900)}
    growth, faults = judge_looks(ready, loaded, 60)
    assert (growth.measured, growth.passed) == (1.02, True)
    assert {value.name: value.value for value in growth.values}["grown"] == 30
    assert (faults.measured, faults.passed) == (3, False)
    assert {value.name: value.value for value in faults.values} == {
        "processes": 1, "new processes": 1,
    }  # fmt: skip
