"""Reading, gathering and merging allocation recordings, and refusing what is none."""

import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from onejob.model.errors import OnejobError
from onejob.profiler.allocation_files import (
    FILE_SIZE,
    Gatherer,
    gathering,
    make_folder,
    read_allocations,
    read_lost,
)
from onejob.profiler.allocations import ProcessAllocations, SizeCount, merge_allocations

Sizes = Mapping[int, tuple[int, ...]]
NAME = "7-1.allocations"
HEADER = "=8sIIQQQQQQ"


def recording(sizes: Sizes, pid: int = 7, program: bytes = b"/bin/service") -> bytearray:
    """A recording as the recorder writes it; sizes: number -> key, peak, allocated, freed, ..."""
    data = bytearray(FILE_SIZE)
    numbers = max(sizes, default=0) + 1
    struct.pack_into(HEADER, data, 0, b"onejobMA", 2, 3, pid, numbers, 5, 6, 1, len(program))
    data[64 : 64 + len(program)] = program
    for number, (key, peak, *counts) in sizes.items():
        struct.pack_into("=QQ", data, 4096 + 16 * number, key, peak)
        table = 4096 + 16 * 4096 + 2 * 64 * 4096  # the third thread's
        struct.pack_into(f"={len(counts)}Q", data, table + 64 * number, *counts)
    return data


def test_reads_one_process(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(
        recording({4095: (1001, 23, 123, 100, 7, 6, 5, 4, 3), 1: (1, 2, 2, 1), 9: (65, 0, 0)})
    )
    assert read_allocations(tmp_path) == (
        ProcessAllocations(
            program="/bin/service",
            pid=7,
            sizes={
                0: SizeCount(0, 2, 2, 1),
                1000: SizeCount(1000, 23, 123, 100, 7, 6, 5, 4, 3),
            },
            overflow=5,
            untagged=6,
            unrecorded=1,
        ),
    )


def test_threads_are_added_up(tmp_path: Path) -> None:
    data = recording({1: (65, 2, 10, 4, 1)})
    struct.pack_into("=3Q", data, 4096 + 16 * 4096 + 64, 100, 50, 7)  # the first table
    (tmp_path / NAME).write_bytes(data)
    (process,) = read_allocations(tmp_path)
    # What is alive at the end was alive at once.
    assert process.sizes == {64: SizeCount(64, 56, 110, 54, 8)}
    assert process.sizes[64].process_long == 56


def test_sizes_are_in_order(tmp_path: Path) -> None:
    slots = {index: (5000 - index, 1, 1) for index in range(1, 101)}
    (tmp_path / NAME).write_bytes(recording(slots))
    (process,) = read_allocations(tmp_path)
    assert list(process.sizes) == list(range(4899, 4999))


def test_no_processes(tmp_path: Path) -> None:
    assert read_allocations(tmp_path) == ()
    assert merge_allocations(()) == ()


def test_a_process_killed_before_it_began_is_left_out(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(bytes(FILE_SIZE))
    (tmp_path / "8-1.allocations").touch()
    assert read_allocations(tmp_path) == ()


def test_merge_takes_the_largest_peak_and_counts_each_block_once() -> None:
    parent = ProcessAllocations("/b", 1, {64: SizeCount(64, 10, 10, 3, 1)}, 1, 2, 1)
    child = ProcessAllocations("/b", 2, {64: SizeCount(64, 12, 5, 4, 1, 0, 2, 3, 4)}, 1, 0)
    other = ProcessAllocations("/a", 3, {32: SizeCount(32, 1, 1, 1)}, 0, 0)
    first, second = merge_allocations((parent, child, other))
    assert (first.program, first.processes, first.sizes) == ("/a", 1, {32: SizeCount(32, 1, 1, 1)})
    assert second.sizes == {64: SizeCount(64, 12, 15, 7, 2, 0, 2, 3, 4)}
    assert second.sizes[64].process_long == 10
    assert (second.processes, second.overflow, second.untagged) == (2, 2, 2)
    assert second.unrecorded == 1


def test_recordings_of_ended_processes_are_gathered_and_removed(tmp_path: Path) -> None:
    make_folder(tmp_path / "all")
    ended, live = tmp_path / "all" / NAME, tmp_path / "all" / "8-1.allocations"
    born = tmp_path / "all" / "9-1.allocations"
    born.touch()
    for path in (ended, live):
        path.write_bytes(recording({1: (65, 2, 10, 4)}))
    gatherer = Gatherer(tmp_path / "all")
    with live.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        file.close()  # as the recorder does
        gatherer.gather()
        assert (ended.exists(), live.exists(), born.exists()) == (False, True, True)
        born.unlink()
        struct.pack_into("=Q", mapping, 4096 + 16 + 8, 7)
    (program,) = gatherer.finish()
    assert (program.processes, program.sizes) == (2, {64: SizeCount(64, 7, 20, 8)})
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["lost"]


def test_what_is_wrong_in_the_folder_is_told_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OnejobError, match=r"notes\.txt"), gathering(tmp_path) as gatherer:
        gatherer.finish()


def test_images_that_were_lost_are_a_row_of_their_own(tmp_path: Path) -> None:
    make_folder(tmp_path / "all")
    (tmp_path / "all" / "lost").write_bytes(struct.pack("=Q", 23) + bytes(4088))
    (tmp_path / "all" / NAME).write_bytes(bytes(FILE_SIZE))  # killed before it could begin
    assert read_lost(tmp_path / "all") == 23
    (row,) = Gatherer(tmp_path / "all").finish()
    assert (row.program, row.processes, row.sizes, row.unrecorded) == ("", 0, {}, 24)


def header(offset: int, form: str, value: object) -> bytearray:
    data = recording({})
    struct.pack_into(form, data, offset, value)
    return data


BAD: dict[str, bytes | bytearray] = {
    "has 1 bytes": b"!",
    "has 8191 bytes": recording({})[:8191],
    f"has {FILE_SIZE + 1} bytes": recording({}) + b"!",
    "recorder's mark": header(0, "8s", b"onejobXX"),
    "version 3": header(8, "I", 3),
    "1 sizes in 65 tables": header(12, "I", 65),
    "4097 sizes in 3 tables": header(24, "Q", 4097),
    "path of 4097 bytes": header(56, "Q", 4097),
    "impossible count in the header": header(32, "Q", 2**63),
    "impossible count in size 9": recording({1: (10, 1, 2**63)}),
    "impossible count in size 18446744073709551614": recording({1: (2**64 - 1, 1, 1)}),
    "size 9 is there twice": recording({1: (10, 1, 1), 2: (10, 1, 1)}),
}


@pytest.mark.parametrize("reason", BAD)
def test_refuses_a_bad_file_by_name_and_reason(tmp_path: Path, reason: str) -> None:
    (tmp_path / NAME).write_bytes(BAD[reason])
    with pytest.raises(OnejobError) as caught:
        read_allocations(tmp_path)
    assert reason in caught.value.what
    assert str(tmp_path / NAME) in caught.value.what
    assert caught.value.hint


def test_refuses_a_foreign_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(recording({}))
    with pytest.raises(OnejobError, match=r"notes\.txt .* does not end in \.allocations"):
        read_allocations(tmp_path)


def test_refuses_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "real"
    real.write_bytes(recording({}))
    (tmp_path / "elsewhere" / NAME).symlink_to(real)
    with pytest.raises(OnejobError, match="symbolic link"):
        read_allocations(tmp_path / "elsewhere")


def test_refuses_a_pipe_without_waiting_on_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(OnejobError, match="not a regular file"):
        read_allocations(tmp_path)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OnejobError, match="missing: No such file"):
        read_allocations(tmp_path / "missing")
