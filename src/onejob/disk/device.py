"""Device: a disk or a raw disk image; all that this room writes goes through its two calls."""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO

from onejob.model.errors import InputError, LacksError

SECTOR = 512
MIB = 1024 * 1024
_BLKSSZGET = 0x1268  # linux/fs.h
_SEEK_DATA_ENDS = errno.ENXIO
# struct flock of fcntl(2) on x86-64: type, whence, start, length, process.
_WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Device:
    """An open disk of `size` bytes, in sectors of `sector` bytes; opened by open_device.

    Order counts only across flush(): until it returns, the disk may have any part of what was
    written since the last one. Tests replace write_at and flush to cut the power.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.lseek(descriptor, 0, os.SEEK_END)
        self.sector = SECTOR
        if stat.S_ISBLK(os.fstat(descriptor).st_mode):
            said = fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4))
            self.sector = int.from_bytes(said, "little")

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; InputError where the disk has no more, or cannot be read."""
        parts, at = [], offset
        try:
            while at < offset + length:
                part = os.pread(self._descriptor, offset + length - at, at)
                if not part:
                    raise InputError(f"{self.path} ends at byte {at}", "give a larger disk")
                parts.append(part)
                at += len(part)
        except OSError as error:
            raise InputError(f"{self.path}: byte {at} cannot be read: {error.strerror}") from error
        return b"".join(parts)

    def write_at(self, offset: int, content: bytes) -> None:
        """Write all of `content`; InputError beyond the end, LacksError where the disk fails."""
        if offset < 0 or offset + len(content) > self.size:
            raise InputError(f"{self.path} has no byte {offset + len(content) - 1}")
        rest = memoryview(content)
        try:
            while rest:
                count = os.pwrite(self._descriptor, rest, offset)
                rest, offset = rest[count:], offset + count
        except OSError as error:
            hint = "make room, or give another disk; what was there is not whole"
            what = f"{self.path}: byte {offset} cannot be written: {error.strerror}"
            raise LacksError(what, hint) from error

    def flush(self) -> None:
        """Return when all that was written is on the disk, and read it from there from now on."""
        try:
            os.fsync(self._descriptor)
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            hint = "the disk fails: give another"
            raise LacksError(f"{self.path} cannot be flushed: {error.strerror}", hint) from error

    def zero_at(self, offset: int, length: int) -> None:
        """Write zeros where there is anything else, so that a sparse file stays sparse."""
        for at in range(offset, offset + length, MIB):
            count = min(MIB, offset + length - at)
            if self.read_at(at, count).strip(b"\0"):
                self.write_at(at, bytes(count))

    def window(self, offset: int, length: int) -> BufferedReader:
        """That part of the disk as a file to read."""
        return BufferedReader(_Window(self, offset, length), MIB)


class _Window(RawIOBase):
    """`length` bytes of a device from `offset` on."""

    def __init__(self, device: Device, offset: int, length: int) -> None:
        self._device, self._offset, self._length, self._at = device, offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._length - self._at))
        buffer[:count] = self._device.read_at(self._offset + self._at, count)
        self._at += count
        return count


@contextmanager
def open_device(path: Path, *, write: bool = False) -> Iterator[Device]:
    """The disk or raw image at `path`; with `write`, nobody else's for as long.

    InputError where it is neither, or somebody uses it: a mount, a running QEMU, another onejob.
    """
    descriptor = _open(path, write)
    try:
        yield Device(path, descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path, write: bool) -> int:
    """Names below /dev/disk are links: looked up first, and then not followed."""
    try:
        real = path.resolve(strict=True)
        kind = real.stat().st_mode
        if not (stat.S_ISBLK(kind) or stat.S_ISREG(kind)):
            raise InputError(f"{path} is no disk", "give a block device or a raw disk image")
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        flags |= os.O_RDWR if write else os.O_RDONLY
        if write and stat.S_ISBLK(kind):
            flags |= os.O_EXCL  # refused while a part of it is mounted (open(2))
        descriptor = os.open(real, flags)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        found = os.fstat(descriptor).st_mode
        if stat.S_IFMT(found) != stat.S_IFMT(kind):
            raise InputError(f"{path} is no longer what it was", "try again")
        if write and stat.S_ISREG(found):
            _lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise _refusal(path, error) from error
    except InputError:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int) -> None:
    """Locks of the open file, as QEMU takes them on its images, too (fcntl(2))."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)


def _refusal(path: Path, error: OSError) -> InputError:
    if error.errno in {errno.EBUSY, errno.EAGAIN, errno.EACCES}:
        hint = "unmount it, end the guest that has it, or wait for the other onejob"
        reason = "it is in use" if error.errno != errno.EACCES else error.strerror
        return InputError(f"disk {path}: {reason}", hint)
    return InputError(f"disk {path}: {error.strerror}", "give a block device or a raw disk image")


def put_file(device: Device, offset: int, source: IO[bytes]) -> None:
    """Write the rest of `source`; zeros only where the disk has something else."""
    while block := source.read(MIB):
        if block.strip(b"\0"):
            device.write_at(offset, block)
        else:
            device.zero_at(offset, len(block))
        offset += len(block)


def copy_data(source: Path, device: Device, offset: int) -> None:
    """Write what the sparse file `source` has data for; its holes stay what they are there."""
    with source.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        at = 0
        while (start := _next_data(file.fileno(), at)) < end:
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            for here in range(start, at, MIB):
                block = os.pread(file.fileno(), min(MIB, at - here), here)
                device.write_at(offset + here, block)


def _next_data(descriptor: int, at: int) -> int:
    """The first byte from `at` on that is in no hole; far away where there is none (lseek(2))."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != _SEEK_DATA_ENDS:
            raise
        return 1 << 62


def new_raw(path: Path, size: int) -> None:
    """A new sparse raw image of `size` bytes; InputError where something is there already."""
    try:
        with path.open("xb") as file:
            os.truncate(file.fileno(), size)
    except FileExistsError as error:
        raise InputError(f"{path} exists already", "choose another, or move it away") from error
    except OSError as error:
        raise LacksError(f"cannot make {path}: {error.strerror}", "make room for it") from error
