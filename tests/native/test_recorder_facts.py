"""What the malloc recorder says of lifetimes, threads and children, and of what it lost."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from recorder_driver import ALLOCATORS, BLOCKS, Recorder, all_freed, basic, compile_workload

from onejob.profiler.allocation_files import gathering, make_folder, read_lost
from onejob.profiler.allocations import ProcessAllocations, SizeCount, merge_allocations


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_workload(tmp_path_factory.mktemp("recorder"), "facts.c")


def is_whole(process: ProcessAllocations) -> bool:
    return (process.overflow, process.untagged, process.unrecorded) == (0, 0, 0)


def test_lifetimes(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "lifetimes")
    assert process.sizes[3001] == SizeCount(3001, 1, BLOCKS, BLOCKS, short_lived=BLOCKS)
    assert process.sizes[3002] == SizeCount(3002, 1, BLOCKS, BLOCKS)
    assert process.sizes[3003] == SizeCount(3003, BLOCKS, BLOCKS, 0)
    assert [process.sizes[size].process_long for size in (3001, 3002, 3003)] == [0, 0, BLOCKS]
    assert is_whole(process)


def test_a_new_part_of_the_ledger_takes_no_time(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "far-apart")
    assert process.sizes[3004] == SizeCount(3004, 1, BLOCKS, BLOCKS, short_lived=BLOCKS)
    assert basic(process, 40 << 20) == SizeCount(40 << 20, BLOCKS, BLOCKS, 0)
    assert is_whole(process)


def test_blocks_that_another_thread_frees(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "elsewhere")
    assert process.sizes[3101] == SizeCount(3101, BLOCKS, BLOCKS, BLOCKS, freed_elsewhere=BLOCKS)
    assert process.sizes[3102] == SizeCount(3102, 2 * BLOCKS, 2 * BLOCKS, BLOCKS, BLOCKS)


def test_where_blocks_come_from(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "kinds")
    one = SizeCount(0, 1, BLOCKS, BLOCKS, short_lived=BLOCKS)
    assert process.sizes[3201] == one._replace(size=3201)
    assert process.sizes[3202] == one._replace(size=3202, resized=BLOCKS)
    twice = SizeCount(3203, 1, 2 * BLOCKS, 2 * BLOCKS, 2 * BLOCKS, resized=2 * BLOCKS)
    assert process.sizes[3203] == twice
    assert process.sizes[3205] == one._replace(size=3205, resized=BLOCKS)
    for size in (3204, 3206, 3264):
        assert process.sizes[size] == one._replace(size=size, aligned=BLOCKS)


def test_more_threads_than_tables(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "many-threads")
    counted = process.sizes[3301]
    assert counted == SizeCount(3301, 200, 600, 600, counted.short_lived)
    assert is_whole(process)


def test_threads_in_turns_are_not_alive_at_once(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "turns")
    assert basic(process, 3401).allocated == 100 * BLOCKS
    assert BLOCKS <= process.sizes[3401].peak <= 2 * BLOCKS


def test_child_without_fork_handlers(recorder: Recorder, facts: Path) -> None:
    processes = recorder.check(facts, "clone")
    parent, child = sorted(processes, key=lambda process: 3502 in process.sizes)
    assert parent.sizes[3501] == SizeCount(3501, 10, 10, 10, short_lived=10)
    assert child.sizes[3501] == SizeCount(3501, 10, 0, 10, freed_inherited=10)
    assert child.sizes[3502] == SizeCount(3502, BLOCKS, BLOCKS, 0)


def test_vfork_child_is_part_of_its_parent(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "vfork")
    assert process.sizes[3601].process_long == BLOCKS
    assert basic(process, 3602) == all_freed(3602, 1, 1)


def test_signal_handler_that_allocates(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "signals")
    assert process.sizes[3701] == SizeCount(3701, 1, BLOCKS, BLOCKS, BLOCKS)
    assert process.sizes[3702] == SizeCount(3702, 1, BLOCKS, BLOCKS, BLOCKS)


@pytest.mark.parametrize("how", ["prctl", "syscall"])
def test_a_filter_of_the_services_own_kills_nobody_for_the_recorder(
    recorder: Recorder, facts: Path, how: str
) -> None:
    processes = recorder.check(facts, "filter", how)
    parent, child = sorted(processes, key=lambda process: 4202 in process.sizes)
    assert child.sizes[4202] == SizeCount(4202, BLOCKS, BLOCKS, 0)
    for first in (10000, 20000, 30000):  # by the thread itself, a new one, and one before it
        sizes = range(first, first + 400)
        assert [parent.sizes[size] for size in sizes] == [SizeCount(s, 1, 1, 0) for s in sizes]
    assert parent.sizes[64 << 20] == SizeCount(64 << 20, 1, 1, 0)
    assert 4203 not in parent.sizes
    assert (parent.overflow, parent.untagged, parent.unrecorded) == (0, 0, 1)


def test_errno_is_left_alone(recorder: Recorder, facts: Path) -> None:
    assert all(is_whole(process) for process in recorder.check(facts, "errno"))


@pytest.mark.parametrize("allocator", ["", *ALLOCATORS])
@pytest.mark.parametrize("command", ["room", "kinds", "many-threads"])
def test_malloc_is_as_promised(
    recorder: Recorder, facts: Path, allocator: str, command: str
) -> None:
    processes = recorder.check(facts, command, LD_PRELOAD=allocator)
    assert all(process.untagged == process.overflow == 0 for process in processes)


@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_new_and_delete_of_other_allocators(
    recorder: Recorder, tmp_path: Path, allocator: str
) -> None:
    """They have operators of their own, which do not call malloc."""
    program = compile_workload(tmp_path, "new_delete.cc")
    (process,) = recorder.check(program, LD_PRELOAD=allocator)
    for size in (2203, 2304, 2404):
        assert basic(process, size) == all_freed(size, BLOCKS, BLOCKS)
    assert process.sizes[2304].aligned == BLOCKS
    assert is_whole(process)


def size_of(path: Path) -> int:
    """Bytes on the disk; 0 for a file that was gathered meanwhile."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def test_killed_children_are_counted_and_the_folder_stays_small(
    recorder: Recorder, facts: Path
) -> None:
    with gathering(recorder.folder) as gatherer:
        with subprocess.Popen([facts, "children", "500"], env=recorder.environment()) as service:
            while service.poll() is None:
                live = [path for path in recorder.folder.iterdir() if path.name != "lost"]
                assert sum(size_of(path) for path in live) < 8_000_000
        assert service.returncode == 0
    (program,) = gatherer.finish()
    assert program.processes == 501
    assert program.sizes[4001] == SizeCount(4001, 1, 500, 0)
    assert [path.name for path in recorder.folder.iterdir()] == ["lost"]


@contextmanager
def tiny_disk(folder: Path, size_kib: int) -> Iterator[Path]:
    """A file system with hardly any room."""
    folder.mkdir()
    options = f"size={size_kib}k,mode=755"
    mount = ["mount", "-t", "tmpfs", "-o", options, "onejob-tiny", str(folder)]
    subprocess.run(mount, check=True, timeout=10)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, timeout=10)


@pytest.mark.root
@pytest.mark.parametrize("size_kib", [8, 12, 16, 24, 40, 56])
def test_a_full_disk_loses_counts_and_says_so(tmp_path: Path, facts: Path, size_kib: int) -> None:
    """Whatever page it is that cannot be had, the program goes on, and the loss is counted."""
    with tiny_disk(tmp_path / "disk", size_kib) as disk:
        recorder = Recorder(disk / "recordings")
        done = recorder.run(facts, "children", "20")
        assert (done.returncode, done.stderr) == (0, "")
        programs = merge_allocations(recorder.read())
        lost = read_lost(recorder.folder)
        sizes = [program.sizes[4001] for program in programs if 4001 in program.sizes]
        counted = sum(size.allocated for size in sizes)
        losses = sum(program.unrecorded + program.overflow for program in programs)
        assert (lost == 1 and not programs) or counted + losses == 20
        assert lost + losses > 0


def test_no_descriptors_left(recorder: Recorder, facts: Path) -> None:
    process = recorder.check_one(facts, "no-descriptors")
    assert process.unrecorded == 2
    assert process.sizes[3902].peak == BLOCKS


def test_an_image_that_may_not_write_there_is_counted_as_lost(
    recorder: Recorder, facts: Path
) -> None:
    limited = f"ulimit -f 1000; exec {facts} lifetimes"
    done = recorder.run("/bin/sh", "-c", limited)
    assert (done.returncode, done.stderr) == (0, "")
    assert [process.program for process in recorder.read()] != [str(facts)]
    assert read_lost(recorder.folder) == 1


def test_the_folder_of_lost_counts_is_open_to_all(tmp_path: Path) -> None:
    make_folder(tmp_path / "folder")
    assert (tmp_path / "folder").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "folder" / "lost").stat().st_mode & 0o777 == 0o666
