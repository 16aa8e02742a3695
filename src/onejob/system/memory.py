"""What the static memory manager counts: blocks from arrays and relayed ones, by size, and paths.

The layout is that of ``native/memory/src/counts.rs`` and ``noted.rs``. One file for each program,
which its processes may write: nothing in it is trusted.
"""

import os
import stat
import struct
from pathlib import Path

from onejob.model.errors import InputError
from onejob.model.observations import ArrayUse, MemoryUse, UnexpectedFile, UnexpectedSize
from onejob.model.profile import How

SUFFIX = ".counts"

_MAGIC = b"OJMEMORY"
_VERSION = 2
_ARRAYS = 64  # rows in the file; the first one stands for no array
_SLOTS = 256
_SIZES = 512
_HEADER = struct.Struct("=8sIIQIIQQQQ")
_PATH_START = 2048
_PATH_SIZE = 2048
_ARRAY = struct.Struct("=4Q")
_ARRAYS_START = 4096
_SIZE = struct.Struct("=2Q")
_SIZES_START = 8192
_PATHS = 128
_NOTED = struct.Struct("=QQIIII224s")
_PATHS_START = _SIZES_START + _SIZES * _SIZE.size
_OTHER_PATHS_START = 64
_SLOTS_START = _PATHS_START + _PATHS * _NOTED.size
_HOW: tuple[How, ...] = (
    "read", "written", "appended", "created", "listed", "looked-up", "executed", "removed",
    "changed", "renamed-from",
)  # fmt: skip
_SLOT_SIZE = _ARRAYS * 8
FILE_SIZE = _SLOTS_START + _SLOTS * _SLOT_SIZE
_MOST = 2**48  # counts and sizes are below: more than any machine has, and sums stay numbers
_HINT = "remove the file and start the service again"


def read_memory_counts(path: Path) -> MemoryUse | None:
    """The counts in one file, at this moment; None if its first process has not begun to count.

    InputError for a file that is something else.
    """
    data = _read(path)
    header = _HEADER.unpack_from(data)
    magic, version, size, _, arrays, path_size, other, large, faults, uncounted = header
    if not any(magic):
        return None
    if magic != _MAGIC or (version, size) != (_VERSION, FILE_SIZE):
        raise _refused(path, "it does not begin as this onejob's memory manager begins it")
    if arrays >= _ARRAYS or path_size > _PATH_SIZE:
        raise _refused(path, f"it has {arrays} arrays, and a path of {path_size} bytes")
    rows = [_read_array(data, number) for number in range(1, arrays + 1)]
    sizes = _read_sizes(data)
    numbers = [number for row in (*rows, *sizes.items()) for number in row]
    if any(number >= _MOST for number in (*numbers, other, large, faults, uncounted)):
        raise _refused(path, "it has counts that no machine can reach")
    return MemoryUse(
        program=data[_PATH_START:][:path_size].decode(errors="replace"),
        arrays=tuple(
            ArrayUse(block_size=size, blocks=blocks, given=given, relayed=relayed, most_taken=most)
            for size, blocks, given, relayed, most in rows
        ),
        unexpected=tuple(UnexpectedSize(size=size, count=n) for size, n in sizes.items()),
        other_sizes=other,
        large=large,
        faults=faults,
        uncounted=uncounted,
    )


def _read_array(data: bytes, number: int) -> tuple[int, int, int, int, int]:
    """Block size, blocks, given, relayed, most taken."""
    block_size, blocks, relayed, most_taken = _ARRAY.unpack_from(
        data, _ARRAYS_START + number * _ARRAY.size
    )
    given = sum(
        int.from_bytes(data[start : start + 8], "little")
        for start in range(_SLOTS_START + number * 8, FILE_SIZE, _SLOT_SIZE)
    )
    return block_size, blocks, given, relayed, most_taken


def _read_sizes(data: bytes) -> dict[int, int]:
    """By requested size; the file has them plus one, so that 0 is none."""
    sizes = data[_SIZES_START:_PATHS_START]
    return {key - 1: count for key, count in sorted(_SIZE.iter_unpack(sizes)) if key and count}


def read_unexpected_files(path: Path) -> tuple[tuple[UnexpectedFile, ...], int]:
    """Of one file, by path, and how many times others were asked for."""
    counts, data = read_memory_counts(path), _read(path)
    if counts is None:
        return (), 0
    found = [
        UnexpectedFile(
            program=counts.program, path=name[:length].decode(errors="replace"),
            how=_HOW[how - 1], error=error, count=count,
        )
        for _, count, error, how, length, _, name in _NOTED.iter_unpack(
            data[_PATHS_START:_SLOTS_START]
        )
        if length and 0 < how <= len(_HOW)
    ]  # fmt: skip
    others = int.from_bytes(data[_OTHER_PATHS_START:][:8], "little")
    return tuple(sorted(found, key=lambda each: each.path)), others


def _read(path: Path) -> bytes:
    """The whole file. A link is not followed, and a pipe not waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size not in (0, FILE_SIZE):
                raise _refused(path, f"it is not a file of {FILE_SIZE} bytes")
            data = file.read(FILE_SIZE)
    except OSError as error:
        raise InputError(f"memory counts {path}: {error.strerror}", _HINT) from error
    return data.ljust(FILE_SIZE, b"\0")


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"memory counts {path}: {why}", _HINT)
