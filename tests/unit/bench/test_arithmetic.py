"""Turns, medians, ratios and the search for the least that passes."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onejob.bench.arithmetic import alternate, find_least, ratios, spread, take_turns


def test_a_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2.0, 10.0, 2.5]) == (2.5, 1.0, 10.0)
    assert spread([1.0, 2.0]).median == 1.5


def test_each_ratio_is_of_what_was_measured_beside_it() -> None:
    assert ratios([3.0, 8.0], [2.0, 4.0]) == [1.5, 2.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_every_round_another_begins() -> None:
    assert take_turns(["a", "b", "c"], 4) == list("abc" + "bca" + "cab" + "abc")


def test_unequal_counts_are_mixed_as_evenly_as_they_go() -> None:
    assert alternate({"ours": 3, "stock": 2}) == ["ours", "stock", "ours", "stock", "ours"]
    assert alternate({"a": 2, "b": 2}) == ["a", "b", "a", "b"]


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1))
def test_alternating_keeps_the_counts(counts: dict[str, int]) -> None:
    assert Counter(alternate(counts)) == counts


@given(st.integers(0, 70))
def test_the_least_that_passes_is_found_in_few_trials(threshold: int) -> None:
    tried: list[int] = []

    def passes(value: int) -> bool:
        tried.append(value)
        return value >= threshold

    wanted = next((value for value in range(16, 65, 2) if value >= threshold), None)
    assert find_least(16, 64, 2, passes) == wanted
    assert len(tried) == len(set(tried)) <= 6
    assert all(16 <= value <= 64 and value % 2 == 0 for value in tried)
