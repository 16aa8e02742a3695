"""The recorder's files: one per process image, read and, where its process has ended, removed.

The layout is that of ``native/recorder/src/layout.rs``: a header, an entry per size, and a table of
counters per thread. The folder is writable by the service, so nothing in it is trusted.
"""

import fcntl
import os
import stat
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from onejob.model.errors import OnejobError
from onejob.profiler.allocations import Merger, ProcessAllocations, ProgramAllocations, SizeCount

SUFFIX = ".allocations"
LOST = "lost"
"""The file in which process images count that could have no recording."""

_MAGIC = b"onejobMA"
_VERSION = 2
_NUMBERS = 4096
_TABLES = 64
_HEADER_SIZE = 4096
_SIZE = struct.Struct("=QQ")  # key, peak
_COUNTS = struct.Struct("=7Q8x")  # as in SizeCount, from `allocated` on
_TABLES_START = _HEADER_SIZE + _NUMBERS * _SIZE.size
_TABLE_SIZE = _NUMBERS * _COUNTS.size
FILE_SIZE = _TABLES_START + _TABLES * _TABLE_SIZE
_PAGE = 4096
_MOST = 2**48  # counts and sizes are below: more than any machine has, and sums stay numbers
_PAUSE_S = 0.5
_HINT = "remove the file and profile again"


class _Header(NamedTuple):
    magic: bytes
    version: int
    tables: int
    pid: int
    numbers: int
    overflow: int
    untagged: int
    unrecorded: int
    path_size: int


_HEADER = struct.Struct("=8sIIQQQQQQ")


def make_folder(directory: Path) -> None:
    """A new ONEJOB_RECORDER_DIR in which every user's processes can be recorded."""
    directory.mkdir()
    lost = directory / LOST
    lost.write_bytes(bytes(_PAGE))  # it has its page before the disk is full
    lost.chmod(0o666)
    directory.chmod(0o1777)


def read_allocations(directory: Path) -> tuple[ProcessAllocations, ...]:
    """All recordings in ONEJOB_RECORDER_DIR, by file name; OnejobError on any other file.

    The service may still run; each count is then that of the moment.
    """
    paths = _recordings(directory)
    return tuple(found for path in paths if (found := _read_process(path)) is not None)


def read_lost(directory: Path) -> int:
    """Process images that could have no recording; 0 where nobody prepared to count them."""
    path = directory / LOST
    if not os.path.lexists(path):
        return 0
    with _opened(path, _PAGE) as descriptor:
        count = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    return _checked(path, "the header", count)


class Gatherer:
    """Takes the recordings of ended processes out of the folder while the service runs on.

    So a service that starts any number of children does not fill the disk.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._merger = Merger()

    def gather(self) -> None:
        """Add up and remove the recordings that no process maps any more."""
        for path in _recordings(self._directory):
            if not _is_live(path):
                self._take(path)

    def finish(self) -> tuple[ProgramAllocations, ...]:
        """The rest, too; all processes have ended. By program, and what was lost without one."""
        for path in _recordings(self._directory):
            self._take(path)
        if lost := read_lost(self._directory):
            self._merger.add_sums("", 0, 0, 0, lost)
        return self._merger.merged()

    def _take(self, path: Path) -> None:
        process = _read_process(path)
        path.unlink(missing_ok=True)
        if process is None:  # it was killed before it could begin
            self._merger.add_sums("", 0, 0, 0, 1)
        else:
            self._merger.add(process)


@contextmanager
def gathering(directory: Path) -> Iterator[Gatherer]:
    """A Gatherer that gathers in the background; what went wrong there is raised at the end."""
    gatherer, ended = Gatherer(directory), threading.Event()
    failures: list[OnejobError] = []

    def gather() -> None:
        try:
            while not ended.wait(_PAUSE_S):
                gatherer.gather()
        except OnejobError as error:
            failures.append(error)

    thread = threading.Thread(target=gather, name="onejob-gatherer")
    thread.start()
    try:
        yield gatherer
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]


def _recordings(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.name != LOST)
    except OSError as error:
        raise OnejobError(
            f"cannot list the allocation recordings in {directory}: {error.strerror}",
            "profile with the recorder preloaded",
        ) from error


def _is_live(path: Path) -> bool:
    """Whether a process may still count in it: then no lease on the file can be had (fcntl(2)).

    One without a byte was made just now: its process has it not quite open.
    """
    try:
        with _opened(path, 0, FILE_SIZE) as descriptor:
            if os.fstat(descriptor).st_size == 0:
                return True
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:  # also where there are no leases: it is read at the end
        return True
    except OnejobError:
        if not os.path.lexists(path):  # its process could not have all of it
            return True
        raise
    return False


def _read_process(path: Path) -> ProcessAllocations | None:
    """One recording; None if the process was killed before it had begun to record."""
    if path.suffix != SUFFIX:
        raise _foreign(path, f"its name does not end in {SUFFIX}")
    with _opened(path, 0, FILE_SIZE) as descriptor:
        if os.fstat(descriptor).st_size == 0:
            return None
        start = _read(path, descriptor, _HEADER_SIZE, 0)
        header = _Header._make(_HEADER.unpack_from(start))
        if not any(header.magic):
            return None
        _check_header(path, header)
        return ProcessAllocations(
            program=os.fsdecode(start[_HEADER.size :][: header.path_size]),
            pid=header.pid,
            sizes=_read_sizes(path, descriptor, header),
            overflow=header.overflow,
            untagged=header.untagged,
            unrecorded=header.unrecorded,
        )


def _check_header(path: Path, header: _Header) -> None:
    if header.magic != _MAGIC:
        raise _foreign(path, "it does not begin with the recorder's mark")
    if header.version != _VERSION:
        raise _foreign(path, f"version {header.version} is not of this onejob")
    if header.tables > _TABLES or header.numbers > _NUMBERS:
        raise _foreign(path, f"{header.numbers} sizes in {header.tables} tables")
    if header.path_size > _HEADER_SIZE - _HEADER.size:
        raise _foreign(path, f"a program path of {header.path_size} bytes")
    counts = (header.pid, header.overflow, header.untagged, header.unrecorded)
    _checked(path, "the header", *counts)


def _read_sizes(path: Path, descriptor: int, header: _Header) -> dict[int, SizeCount]:
    """The sizes that were counted. (A number that is given out may be at 0 for a moment.)"""
    entries = _read(path, descriptor, header.numbers * _SIZE.size, _HEADER_SIZE)
    counts = _read_counts(path, descriptor, header)
    sizes: dict[int, SizeCount] = {}
    for (key, peak), own in zip(_SIZE.iter_unpack(entries), counts, strict=True):
        if not key or not (peak or any(own)):
            continue
        size = key - 1
        if size in sizes:
            raise _foreign(path, f"size {size} is there twice")
        _checked(path, f"size {size}", size, peak, *own)
        sizes[size] = SizeCount(size, max(peak, own[0] - own[1]), *own)
    return dict(sorted(sizes.items()))


def _read_counts(path: Path, descriptor: int, header: _Header) -> list[list[int]]:
    """Per number, the sums over all threads."""
    sums = [[0] * 7 for _ in range(header.numbers)]
    for table in range(header.tables):
        place = _TABLES_START + table * _TABLE_SIZE
        counts = _read(path, descriptor, header.numbers * _COUNTS.size, place)
        for total, own in zip(sums, _COUNTS.iter_unpack(counts), strict=True):
            if own[0] or own[1]:
                total[:] = map(int.__add__, total, own)
    return sums


def _checked(path: Path, where: str, *counts: int) -> int:
    """The first of `counts`, all of which are possible."""
    if max(counts) >= _MOST:
        raise _foreign(path, f"an impossible count in {where}")
    return counts[0]


@contextmanager
def _opened(path: Path, *sizes: int) -> Iterator[int]:
    """A regular file of one of these sizes, open for reading."""
    try:
        # Neither follow a link that the service laid nor wait on a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _foreign(path, error.strerror or str(error)) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _foreign(path, "it is not a regular file")
        if status.st_size not in sizes:
            raise _foreign(path, f"it has {status.st_size} bytes instead of {sizes[-1]}")
        yield descriptor
    finally:
        os.close(descriptor)


def _read(path: Path, descriptor: int, size: int, place: int) -> bytes:
    data = os.pread(descriptor, size, place)
    if len(data) != size:
        raise _foreign(path, "it shrank while it was read")
    return data


def _foreign(path: Path, reason: str) -> OnejobError:
    return OnejobError(f"{path} is not an allocation recording: {reason}", _HINT)
