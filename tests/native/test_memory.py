"""The static memory manager, driven from outside: known allocations, exact counts."""

import sys
from pathlib import Path

import pytest
from memory_driver import (
    BLOCKS,
    PAIRS,
    Given,
    Manager,
    compile_program,
    given,
)
from recorder_driver import Recorder

import small_world
from onejob.builder.memory import MemoryOptions, memory_plan_text
from onejob.model.profile import ProgramAllocation
from onejob.planner.memory import plan_memory

# For four threads with at most 16 blocks each, and as many that wait.
CHURNED = ((1, 1008, 200), (1009, 2000, 200), (2001, 2992, 200))
JEMALLOC = "-l:libjemalloc.so.2"


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_program(tmp_path_factory.mktemp("memory"), "workload.c")


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    return Manager(tmp_path)


@pytest.fixture
def planned(manager: Manager, workload: Path) -> Manager:
    manager.write_plan(workload)
    return manager


def test_expected_sizes_come_from_their_arrays(planned: Manager, workload: Path) -> None:
    counts = planned.check(workload, "blocks")
    assert given(counts, 1008) == Given(BLOCKS + PAIRS, 0)
    assert counts.program == str(workload)
    assert (counts.static, counts.dynamic) == (BLOCKS + PAIRS, 0)
    assert (counts.faults, counts.uncounted) == (0, 0)


def test_unexpected_sizes_are_relayed_and_counted_by_size(planned: Manager, workload: Path) -> None:
    counts = planned.check(workload, "unexpected")
    assert counts.by_size == {3001: BLOCKS + PAIRS}
    assert (counts.static, counts.dynamic) == (0, BLOCKS + PAIRS)


def test_an_array_that_is_used_up_relays(manager: Manager, workload: Path) -> None:
    manager.write_plan(workload, [(993, 1008, 10)])
    counts = manager.check(workload, "blocks")
    assert given(counts, 1008) == Given(10 + PAIRS, BLOCKS - 10)
    assert counts.arrays[0].most_taken == 10


def test_large_blocks_come_from_the_kernel(planned: Manager, workload: Path) -> None:
    counts = planned.check(workload, "large")
    assert (counts.large, counts.static, counts.by_size) == (BLOCKS + PAIRS, 0, {})


def test_calloc_gives_zeroes_in_blocks_that_were_used(planned: Manager, workload: Path) -> None:
    assert given(planned.check(workload, "calloc"), 1008) == Given(2 * BLOCKS, 0)


def test_realloc_keeps_the_content_between_all_kinds_of_blocks(
    planned: Manager, workload: Path
) -> None:
    counts = planned.check(workload, "realloc")
    # Within the array the block stays where it is, and is no other one.
    assert given(counts, 1008) == Given(2, 0)
    assert given(counts, 2000) == Given(1, 0)
    assert counts.by_size == {3001: 2, 5000: 1}
    assert counts.large == 1


def test_the_whole_malloc_family(planned: Manager, workload: Path) -> None:
    counts = planned.check(workload, "family")
    # Aligned to 256, to 64 (twice), by free_sized's malloc, by reallocarray.
    assert given(counts, 2048) == Given(5, 0)
    assert given(counts, 16) == Given(2, 0)
    assert given(counts, 1008) == Given(0, 0)
    # Aligned more than the blocks of the size's array are, or of no array.
    assert counts.by_size == {100: 2, 1000: 1, 2048: 1, 1 << 20: 1}


def test_the_pages_of_all_blocks_are_there_before_main(planned: Manager, workload: Path) -> None:
    assert given(planned.check(workload, "faults"), 4096) == Given(513, 0)


def test_blocks_may_be_freed_by_another_thread(planned: Manager, workload: Path) -> None:
    assert given(planned.check(workload, "remote"), 1008) == Given(5000, 0)


@pytest.mark.parametrize("delay", [0, 16])
def test_threads_share_the_arrays_and_give_back_what_they_had(
    manager: Manager, workload: Path, delay: int
) -> None:
    manager.write_plan(workload, CHURNED, MemoryOptions(delay=delay))
    counts = manager.check(workload, "threads")
    # Beside what they do, the C library has blocks for each thread's storage.
    assert 0 <= counts.static - (8 * 4 * 4000 + BLOCKS) <= 8 * 4
    assert (counts.dynamic, counts.uncounted) == (0, 0)


def test_forks_in_the_middle_of_malloc_leave_the_child_whole(
    manager: Manager, workload: Path
) -> None:
    manager.write_plan(workload, CHURNED)
    counts = manager.check(workload, "fork-with-threads")
    assert counts.large == 40 * BLOCKS
    assert counts.by_size == {3001: 40 * BLOCKS}


def test_children_by_fork_count_in_the_same_file(planned: Manager, workload: Path) -> None:
    counts = planned.check(workload, "fork")
    assert given(counts, 1008) == Given(1 + 2 * (BLOCKS + PAIRS), 0)


def test_exec_goes_on_counting_in_the_same_file(planned: Manager, workload: Path) -> None:
    assert given(planned.check(workload, "exec"), 1008) == Given(1 + BLOCKS + PAIRS, 0)


def test_libraries_that_are_opened_later_are_served(
    planned: Manager, workload: Path, tmp_path: Path
) -> None:
    library = compile_program(tmp_path, "library.c", "-shared", "-fPIC")
    assert given(planned.check(workload, "dlopen", library), 1008) == Given(BLOCKS, 0)


def test_new_and_delete_come_from_the_arrays(manager: Manager, tmp_path: Path) -> None:
    program = compile_program(tmp_path, "new_delete.cc")
    manager.write_plan(program)
    counts = manager.check(program)
    assert given(counts, 1008) == Given(2 * BLOCKS + 1, 0)
    assert given(counts, 2048) == Given(2 * BLOCKS, 0)


def test_a_service_that_is_linked_to_jemalloc_is_served(manager: Manager, tmp_path: Path) -> None:
    program = compile_program(tmp_path, "jemalloc.c", JEMALLOC)
    manager.write_plan(program)
    counts = manager.check(program)
    assert given(counts, 1008) == Given(BLOCKS, 0)
    assert given(counts, 2048) == Given(BLOCKS, 0)


def test_a_program_that_is_not_in_the_plan_runs_on_the_dynamic_side(
    planned: Manager, workload: Path
) -> None:
    assert planned.run("/bin/echo", "unplanned").stdout == "unplanned\n"
    assert list(planned.counts.iterdir()) == []


def test_without_a_plan_everything_is_relayed(planned: Manager, workload: Path) -> None:
    done = planned.run("env", "-u", "ONEJOB_MEMORY_PLAN", workload, "blocks")
    assert (done.returncode, done.stderr) == (0, "")


def test_counts_of_another_plan_begin_anew(manager: Manager, workload: Path) -> None:
    manager.write_plan(workload)
    assert manager.check(workload, "blocks").static == BLOCKS + PAIRS
    assert manager.check(workload, "blocks").static == 2 * (BLOCKS + PAIRS)
    manager.write_plan(workload, [(993, 1008, 30)])
    assert manager.check(workload, "blocks").static == BLOCKS + PAIRS


@pytest.mark.root
def test_without_proc_a_program_is_known_by_the_name_it_was_started_by(
    planned: Manager, workload: Path
) -> None:
    script = f"mount -t tmpfs onejob-none /proc && exec {workload} blocks"
    done = planned.run("unshare", "--mount", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert planned.read().static == BLOCKS + PAIRS


def test_another_file_in_the_place_of_the_counts_is_left_as_it_is(
    planned: Manager, workload: Path, tmp_path: Path
) -> None:
    other = tmp_path / "precious"
    other.write_text("precious")
    (planned.counts / "1.counts").hardlink_to(other)
    assert planned.check(workload, "blocks").static == BLOCKS + PAIRS
    assert other.read_text() == "precious"


def test_huge_pages_are_asked_for_and_not_needed(manager: Manager, workload: Path) -> None:
    manager.write_plan(workload, [(993, 1008, 4000)], MemoryOptions(huge_pages=True))
    assert given(manager.check(workload, "blocks"), 1008) == Given(BLOCKS + PAIRS, 0)


SCRIPT = """
import collections, json
facts = {str(number): [number] * (number % 7) for number in range(2000)}
for _ in range(5):
    text = json.dumps(facts)
    assert json.loads(text) == facts
assert collections.Counter(text)["6"] > 100
"""


def test_a_recorded_program_finds_its_blocks_in_the_arrays(
    manager: Manager, tmp_path: Path
) -> None:
    """From the recorder's profile to arrays: the same run has 99.9 % of its blocks there."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    more = {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}
    recorder = Recorder(tmp_path / "recordings")
    recorded = recorder.run(sys.executable, "-sS", script, **more)
    assert (recorded.returncode, recorded.stderr) == (0, "")
    (process,) = recorder.read()
    rows = [
        ProgramAllocation(
            program=process.program, block_size=size.size, peak=size.peak,
            allocated=size.allocated, freed=size.freed,
        )
        for size in process.sizes.values()
    ]  # fmt: skip
    arrays = plan_memory(small_world.profile(allocations=tuple(rows)))
    options = MemoryOptions(counts=str(manager.counts))
    manager.plan.write_text(memory_plan_text(arrays, options))
    counts = manager.check(sys.executable, "-sS", script, **more)
    assert counts.program == process.program
    assert counts.static > 20_000
    assert counts.dynamic <= counts.static // 1000
