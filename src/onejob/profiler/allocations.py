"""Reads what the preloaded recorder wrote: blocks per requested size, one file per process image.

The layout is that of ``native/recorder/src/table.rs``: a header of 8192 bytes, then slots of 64.
The folder is writable by the service, so nothing in it is trusted.
"""

import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path

from onejob.model.errors import OnejobError

SUFFIX = ".allocations"

_MAGIC = b"onejobMA"
_VERSION = 1
_SLOTS = 4096
_SLOT = struct.Struct("=6Q16x")  # key, allocated, freed, peak, inherited allocated, inherited freed
_HEADER = struct.Struct("=8sIIQQQQQQ")  # magic, version, slots, pid, overflow, untagged, ...
_HEADER_SIZE = 8192
_PATH_SIZE = 4096
_FILE_SIZE = _HEADER_SIZE + _SLOTS * _SLOT.size
_MOST = 2**48  # counts and sizes are below: more than any machine has, and sums stay numbers
_HINT = "remove the file and profile again"


@dataclass(frozen=True)
class SizeCount:
    """Blocks of one requested size (bytes)."""

    size: int
    peak: int
    """Most blocks alive at once, in one process."""
    allocated: int
    freed: int
    inherited_allocated: int = 0
    """What of `allocated` the parent counted before the fork."""
    inherited_freed: int = 0


@dataclass(frozen=True)
class ProcessAllocations:
    """Allocations of one process image: a process from fork or exec to exec or end."""

    program: str
    """Path of the executable, as the process saw it."""
    pid: int
    """In the process's own pid namespace."""
    sizes: Mapping[int, SizeCount]
    overflow: int
    """Allocations that are not in `sizes`: the recorder had no room for one more size."""
    untagged: int
    """Blocks freed here that did not come through the recorder."""
    unrecorded_forks: int = 0
    """Children that could have no recording of their own."""


@dataclass(frozen=True)
class ProgramAllocations:
    """Allocations of all processes of one program."""

    program: str
    processes: int
    sizes: Mapping[int, SizeCount]
    """Peak: the largest of any process. Totals: sums, each block counted once."""
    overflow: int
    """Sums. What a child inherited counts in it again: only 0 says that nothing was missed."""
    untagged: int
    unrecorded_forks: int


def read_allocations(directory: Path) -> tuple[ProcessAllocations, ...]:
    """All recordings in ONEJOB_RECORDER_DIR, by file name; OnejobError on any other file.

    The service may still run; each count is then that of the moment.
    """
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise OnejobError(
            f"cannot list the allocation recordings in {directory}: {error.strerror}",
            "profile with the recorder preloaded",
        ) from error
    return tuple(found for path in paths if (found := _read_process(path)) is not None)


def merge_allocations(processes: Iterable[ProcessAllocations]) -> tuple[ProgramAllocations, ...]:
    """One entry per program, by path: the memory manager is sized per process, from peaks."""
    ordered = sorted(processes, key=lambda process: process.program)
    groups = groupby(ordered, key=lambda process: process.program)
    return tuple(_merge_program(program, list(group)) for program, group in groups)


def _merge_program(program: str, processes: list[ProcessAllocations]) -> ProgramAllocations:
    counts: dict[int, list[SizeCount]] = {}
    for process in processes:
        for count in process.sizes.values():
            counts.setdefault(count.size, []).append(_own(count))
    return ProgramAllocations(
        program=program,
        processes=len(processes),
        sizes={size: reduce(_add, counts[size]) for size in sorted(counts)},
        overflow=sum(process.overflow for process in processes),
        untagged=sum(process.untagged for process in processes),
        unrecorded_forks=sum(process.unrecorded_forks for process in processes),
    )


def _own(count: SizeCount) -> SizeCount:
    """What the process counted itself. The peak stays: inherited blocks are alive in it, too."""
    allocated = count.allocated - count.inherited_allocated
    return SizeCount(count.size, count.peak, allocated, count.freed - count.inherited_freed)


def _add(one: SizeCount, other: SizeCount) -> SizeCount:
    return SizeCount(
        one.size,
        max(one.peak, other.peak),
        one.allocated + other.allocated,
        one.freed + other.freed,
    )


def _read_process(path: Path) -> ProcessAllocations | None:
    """One recording; None if the process was killed before it had begun to record."""
    data = _read_bytes(path)
    magic, version, slots, pid, overflow, untagged, unrecorded, _, path_size = _HEADER.unpack_from(
        data
    )
    if not any(magic):
        return None
    if magic != _MAGIC:
        raise _foreign(path, "it does not begin with the recorder's mark")
    if version != _VERSION or slots != _SLOTS:
        raise _foreign(path, f"version {version} with {slots} slots is not of this onejob")
    if path_size > _PATH_SIZE:
        raise _foreign(path, f"a program path of {path_size} bytes")
    if max(pid, overflow, untagged, unrecorded) >= _MOST:
        raise _foreign(path, "an impossible count in the header")
    start = _HEADER_SIZE - _PATH_SIZE
    return ProcessAllocations(
        program=os.fsdecode(data[start : start + path_size]),
        pid=pid,
        sizes=_read_sizes(path, data),
        overflow=overflow,
        untagged=untagged,
        unrecorded_forks=unrecorded,
    )


def _read_sizes(path: Path, data: bytes) -> dict[int, SizeCount]:
    sizes: dict[int, SizeCount] = {}
    for count in _counts(data):
        if count.size in sizes:
            raise _foreign(path, f"size {count.size} is there twice")
        if max(count.size, count.peak, count.allocated, count.freed) >= _MOST:
            raise _foreign(path, f"an impossible count for size {count.size}")
        if count.inherited_allocated > count.allocated or count.inherited_freed > count.freed:
            raise _foreign(path, f"more blocks of size {count.size} inherited than there were")
        sizes[count.size] = count
    return dict(sorted(sizes.items()))


def _counts(data: bytes) -> Iterator[SizeCount]:
    """The slots that were counted in. (A claimed slot is at 0 for a moment.)"""
    for key, allocated, freed, peak, *inherited in _SLOT.iter_unpack(data[_HEADER_SIZE:]):
        if key and allocated:
            yield SizeCount(key - 1, peak, allocated, freed, *inherited)


def _read_bytes(path: Path) -> bytes:
    """The whole file, after making sure that it is a regular one of the right size."""
    if path.suffix != SUFFIX:
        raise _foreign(path, f"its name does not end in {SUFFIX}")
    try:
        # Neither follow a link that the service laid nor wait on a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _foreign(path, "it is not a regular file")
            if status.st_size != _FILE_SIZE:
                raise _foreign(path, f"it has {status.st_size} bytes instead of {_FILE_SIZE}")
            data = file.read(_FILE_SIZE)
    except OSError as error:
        raise _foreign(path, error.strerror or str(error)) from error
    if len(data) != _FILE_SIZE:
        raise _foreign(path, "it shrank while it was read")
    return data


def _foreign(path: Path, reason: str) -> OnejobError:
    return OnejobError(f"{path} is not an allocation recording: {reason}", _HINT)
