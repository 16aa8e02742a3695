"""The memory manager's counts: read as they lie in the file, and refused where they cannot be."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onejob.model.errors import InputError
from onejob.model.observations import ArrayUse
from onejob.system.memory import FILE_SIZE, read_memory_counts

PATH = b"/usr/sbin/keeper"


def counts_file(**changes: int | bytes) -> bytearray:
    """Two arrays; the first gave 3 + 20 blocks in two threads. 7 blocks of 100 bytes had none."""
    header = {
        "magic": b"OJMEMORY", "version": 2, "size": FILE_SIZE, "identity": 99, "arrays": 2,
        "path": len(PATH), "other": 1, "large": 2, "faults": 0, "uncounted": 0,
    } | changes  # fmt: skip
    data = bytearray(FILE_SIZE)
    struct.pack_into("=8sIIQIIQQQQ", data, 0, *header.values())
    data[2048 : 2048 + len(PATH)] = PATH
    struct.pack_into("=4Q", data, 4096 + 32, 16, 40, 5, 30)
    struct.pack_into("=4Q", data, 4096 + 64, 64, 10, 0, 0)
    struct.pack_into("=QQ", data, 8192 + 16 * 30, 101, 7)
    struct.pack_into("=Q", data, 49152 + 8, 3)
    struct.pack_into("=Q", data, 49152 + 255 * 512 + 8, 20)
    return data


def test_all_threads_and_sizes_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "1.counts"
    path.write_bytes(counts_file())
    counts = read_memory_counts(path)
    assert counts is not None
    assert counts.program == PATH.decode()
    assert counts.arrays == (
        ArrayUse(block_size=16, blocks=40, given=23, relayed=5, most_taken=30),
        ArrayUse(block_size=64, blocks=10, given=0, relayed=0, most_taken=0),
    )
    assert counts.by_size == {100: 7}
    assert (counts.static, counts.dynamic) == (23, 5 + 7 + 1 + 2)


@pytest.mark.parametrize("data", [b"", bytes(FILE_SIZE)])
def test_a_file_that_nobody_counted_in_has_no_counts(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "1.counts"
    path.write_bytes(data)
    assert read_memory_counts(path) is None


BAD: dict[str, dict[str, int | bytes]] = {
    "does not begin as": {"magic": b"OJMEMOR_"},
    "does not begin": {"version": 1},
    "not begin": {"size": 4096},
    "it has 64 arrays": {"arrays": 64},
    "a path of 2049 bytes": {"path": 2049},
    "no machine can reach": {"large": 2**48},
}


@pytest.mark.parametrize("reason", BAD)
def test_another_file_is_refused(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "1.counts"
    path.write_bytes(counts_file(**BAD[reason]))
    with pytest.raises(InputError, match=f"memory counts {path}: .*{reason}"):
        read_memory_counts(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: os.mkfifo(path), "not a file of"),
        (lambda path: path.write_bytes(bytes(FILE_SIZE - 1)), "not a file of"),
        (lambda path: path.symlink_to("/dev/zero"), "symbolic links"),
        (lambda path: None, "No such file"),
    ],
)
def test_what_is_no_file_of_counts_is_refused(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "1.counts"
    make(path)
    with pytest.raises(InputError, match=reason):
        read_memory_counts(path)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.integers(0, FILE_SIZE - 1), st.integers(0, 255), max_size=40))
def test_any_bytes_are_counts_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[int, int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.counts"
    data = counts_file()
    for place, byte in changes.items():
        data[place] = byte
    path.write_bytes(data)
    try:
        counts = read_memory_counts(path)
    except InputError:
        return
    assert counts is None or counts.static < 256 * 64 * 2**48
