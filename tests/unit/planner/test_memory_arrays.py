"""The arrays of the memory manager: the cheapest there are, for any histogram of blocks."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import small_world
from onejob.model.errors import InputError
from onejob.model.plan import MemoryArray
from onejob.model.profile import ProgramAllocation, ProgramPeak
from onejob.planner.memory import (
    LARGEST_BLOCK,
    MOST_ARRAYS,
    Need,
    array_bytes,
    choose_arrays,
    cost_bytes,
    gather_needs,
    plan_arrays,
    plan_memory,
    reserved_blocks,
    wasted_bytes,
)

# The clock of a loaded machine says nothing about the test.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
histograms = st.dictionaries(st.integers(0, 2000), st.integers(1, 400), min_size=1, max_size=10)


def arrays(
    *peaks: tuple[int, int], program: str = "/p", threads: int = 1, processes: int = 1
) -> tuple[MemoryArray, ...]:
    """The plan for (requested bytes, peak)."""
    rows = [
        ProgramAllocation(program=program, block_size=size, peak=peak, allocated=peak, freed=0)
        for size, peak in peaks
    ]
    most = ProgramPeak(program=program, processes=processes, threads=threads)
    profile = small_world.profile(allocations=tuple(rows), program_peaks=(most,))
    return plan_memory(profile)


def all_groupings(needs: Sequence[Need], most: int) -> Iterator[list[Sequence[Need]]]:
    for count in range(min(most, len(needs))):
        for cuts in combinations(range(1, len(needs)), count):
            ends = [*cuts, len(needs)]
            yield [needs[start:end] for start, end in zip([0, *cuts], ends, strict=True)]


@patient
@given(histograms, st.integers(1, 10))
def test_no_other_choice_of_arrays_is_cheaper(histogram: dict[int, int], most: int) -> None:
    needs = gather_needs(histogram.items())
    chosen = choose_arrays(needs, most)
    assert len(chosen) <= most
    assert [need for group in chosen for need in group] == needs
    assert cost_bytes(chosen) == min(map(cost_bytes, all_groupings(needs, most)))


@patient
@example({0: 0, 1: 1})
@given(st.dictionaries(st.integers(0, LARGEST_BLOCK + 99), st.integers(0, 400), max_size=300))
def test_every_planned_block_has_its_array_and_arrays_do_not_overlap(
    histogram: dict[int, int],
) -> None:
    planned = arrays(*histogram.items())
    assert len(planned) <= MOST_ARRAYS
    end = 0
    for array in planned:
        assert end < array.smallest <= array.block_size
        assert array.block_size % 16 == 0
        assert array.smallest % 16 == 1
        end = array.block_size
    for size, peak in histogram.items():
        served = [a for a in planned if a.smallest <= max(size, 1) <= a.block_size]
        # A size without blocks may still fit an array that another size has asked for.
        assert len(served) == 1 if peak and size <= LARGEST_BLOCK else len(served) <= 1
        assert not served or size <= LARGEST_BLOCK
    needs = [(s, p) for s, p in histogram.items() if p and s <= LARGEST_BLOCK]
    assert sum(a.blocks for a in planned) >= sum(peak for _, peak in needs)


@pytest.mark.parametrize(("peak", "blocks"), [(1, 2), (4, 5), (5, 7), (23, 29), (100, 125)])
def test_arrays_have_head_room_and_some_blocks_for_caches(peak: int, blocks: int) -> None:
    for size, for_caches in ((64, 8), (512, 8), (528, 7), (4096, 1), (4112, 0)):
        (array,) = arrays((size, peak))
        assert (array.block_size, array.smallest) == (size, size - 15)
        assert array.blocks == blocks + for_caches


@pytest.mark.parametrize(("size", "spare"), [(16, 256), (64, 64), (512, 8), (4096, 2), (4112, 2)])
def test_arrays_that_two_threads_often_use_have_cache_lines_for_each(size: int, spare: int) -> None:
    """Two threads on ten blocks of 64 bytes took twice as long as under glibc: their states met."""
    (array,) = arrays((size, 4), threads=2)
    assert (array.spare, array.blocks) == (spare, 5 + spare)


def test_arrays_that_are_seldom_used_have_no_more_for_threads() -> None:
    often, seldom = ProgramAllocation(
        program="/p", block_size=64, peak=99, allocated=1000, freed=0
    ), ProgramAllocation(program="/p", block_size=640, peak=9, allocated=9, freed=0)  # fmt: skip
    planned = plan_arrays("/p", (often, seldom), threads=2)
    assert [array.spare for array in planned] == [64, reserved_blocks(640)]


def test_threads_are_those_of_one_process_and_no_more_than_run_at_once() -> None:
    def spare(threads: int, processes: int = 1) -> int:
        (array,) = arrays((64, 4), threads=threads, processes=processes)
        return array.spare

    assert spare(5, processes=5) == reserved_blocks(64)
    assert spare(6, processes=3) == spare(2)
    assert spare(100) == spare(8) == 8 * 32


def test_sizes_that_dominate_get_arrays_of_their_own() -> None:
    few = array_bytes(32) // 16
    assert [(a.smallest, a.block_size) for a in arrays((32, few), (48, 100))] == [(17, 48)]
    assert [(a.smallest, a.block_size) for a in arrays((32, few + 1), (48, 100))] == [
        (17, 32),
        (33, 48),
    ]


def test_the_reason_says_what_is_wasted() -> None:
    (array,) = arrays((30, 3), (48, 2))
    # 5 blocks of 48 bytes for 3 requests of 30 and 2 of 48.
    assert array.reason == (
        "5 alive at once in the profile, plus 25 % and 8 for caches; "
        "54 of their 240 bytes are wasted"
    )


def test_a_block_of_no_bytes_is_a_block() -> None:
    (array,) = arrays((0, 3))
    assert (array.smallest, array.block_size) == (1, 16)
    assert wasted_bytes(gather_needs([(0, 3)])) == 48


def test_large_blocks_and_those_that_never_lived_have_no_array() -> None:
    assert arrays((LARGEST_BLOCK + 1, 5), (64, 0)) == ()
    (array,) = arrays((LARGEST_BLOCK, 1))
    assert array.block_size == LARGEST_BLOCK


def test_more_sizes_than_arrays_share_them() -> None:
    peaks = [(16 * number, 400) for number in range(1, 300)]
    assert len(arrays(*peaks)) == MOST_ARRAYS


def test_arrays_of_programs_stand_apart() -> None:
    rows = tuple(
        ProgramAllocation(program=program, block_size=64, peak=peak, allocated=peak, freed=0)
        for program, peak in (("/b", 4), ("/a", 8))
    )
    planned = plan_memory(small_world.profile(allocations=rows))
    assert [(array.program, array.blocks) for array in planned] == [("/a", 18), ("/b", 13)]


def test_more_memory_than_can_be_laid_out_is_refused() -> None:
    with pytest.raises(InputError, match=r"the memory of /p in the profile is \d+ MiB"):
        arrays((LARGEST_BLOCK, 200_000))
