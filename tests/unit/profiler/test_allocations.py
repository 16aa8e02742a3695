"""Reading and merging allocation recordings, and refusing what is none."""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from onejob.model.errors import OnejobError
from onejob.profiler.allocations import (
    ProcessAllocations,
    SizeCount,
    merge_allocations,
    read_allocations,
)

Slots = Mapping[int, tuple[int, ...]]
NAME = "7-1.allocations"


def recording(slots: Slots, pid: int = 7, program: bytes = b"/bin/service") -> bytearray:
    """A recording as the recorder writes it; slots: index -> key, allocated, freed, peak, ..."""
    data = bytearray(8192 + 4096 * 64)
    struct.pack_into("=8sIIQQQQQQ", data, 0, b"onejobMA", 1, 4096, pid, 5, 6, 1, 3, len(program))
    data[4096 : 4096 + len(program)] = program
    for index, values in slots.items():
        struct.pack_into(f"={len(values)}Q", data, 8192 + 64 * index, *values)
    return data


def test_reads_one_process(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(
        recording({4095: (1001, 123, 100, 23), 0: (1, 2, 1, 2, 1, 1), 9: (65, 0, 0, 0)})
    )
    assert read_allocations(tmp_path) == (
        ProcessAllocations(
            program="/bin/service",
            pid=7,
            sizes={0: SizeCount(0, 2, 2, 1, 1, 1), 1000: SizeCount(1000, 23, 123, 100)},
            overflow=5,
            untagged=6,
            unrecorded_forks=1,
        ),
    )


def test_sizes_are_in_order(tmp_path: Path) -> None:
    slots = {index: (5000 - index, 1, 0, 1) for index in range(100)}
    (tmp_path / NAME).write_bytes(recording(slots))
    (process,) = read_allocations(tmp_path)
    assert list(process.sizes) == list(range(4900, 5000))


def test_no_processes(tmp_path: Path) -> None:
    assert read_allocations(tmp_path) == ()
    assert merge_allocations(()) == ()


def test_a_process_killed_before_it_began_is_left_out(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(bytes(8192 + 4096 * 64))
    assert read_allocations(tmp_path) == ()


def test_merge_takes_the_largest_peak_and_counts_each_block_once() -> None:
    parent = ProcessAllocations("/b", 1, {64: SizeCount(64, 10, 10, 3)}, 1, 2, 1)
    child = ProcessAllocations("/b", 2, {64: SizeCount(64, 12, 15, 4, 10, 3)}, 1, 0)
    other = ProcessAllocations("/a", 3, {32: SizeCount(32, 1, 1, 1)}, 0, 0)
    first, second = merge_allocations((parent, child, other))
    assert (first.program, first.processes, first.sizes) == ("/a", 1, {32: SizeCount(32, 1, 1, 1)})
    assert second.sizes == {64: SizeCount(64, 12, 15, 4)}
    assert (second.processes, second.overflow, second.untagged) == (2, 2, 2)
    assert second.unrecorded_forks == 1


def header(offset: int, form: str, value: object) -> bytearray:
    data = recording({})
    struct.pack_into(form, data, offset, value)
    return data


BAD: dict[str, bytes | bytearray] = {
    "has 0 bytes": b"",
    "has 8191 bytes": recording({})[:8191],
    "has 270337 bytes": recording({}) + b"!",
    "recorder's mark": header(0, "8s", b"onejobXX"),
    "version 2": header(8, "I", 2),
    "5000 slots": header(12, "I", 5000),
    "path of 4097 bytes": header(56, "Q", 4097),
    "impossible count in the header": header(24, "Q", 2**63),
    "impossible count for size 9": recording({0: (10, 2**63, 0, 1)}),
    "impossible count for size 18446744073709551614": recording({0: (2**64 - 1, 1, 0, 1)}),
    "size 9 is there twice": recording({0: (10, 1, 0, 1), 1: (10, 1, 0, 1)}),
    "size 9 inherited": recording({0: (10, 1, 0, 1, 2, 0)}),
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
