"""The last words of an instance: read from the ring on its data partition, also after a crash.

The ring is that of ``native/init/src/ring.rs``. A service that is root may have written to it, or
put something else in its place: nothing in it is trusted.
"""

import os
import select
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from onejob.base.process import find_tool, start_group
from onejob.drive.commands import NOBODY
from onejob.model.errors import InputError

FOLDER, NAME = ".onejob", "log"
_MAGIC = b"OJRING\x001"
_HEAD = struct.Struct("=8sQQ")
_BLOCK = 4096
_BLOCKS = 256
_SIZE = _BLOCK * _BLOCKS
_TIMEOUT_S = 60
_NEVER = "an instance keeps its words where the plan has data, and --data names a place for it"


class Piece(NamedTuple):
    """What was said from `since` on, in seconds since 1970 by the instance's clock."""

    number: int
    since: int
    text: bytes


def read_log(data: Path) -> tuple[Piece, ...]:
    """What was kept in `data`, a folder or a disk image; the oldest piece first.

    InputError where there is nothing, or something else.
    """
    content = _from_folder(data) if data.is_dir() else _from_disk(data)
    return parse_ring(content, str(data))


def parse_ring(content: bytes, name: str) -> tuple[Piece, ...]:
    """The blocks that were written, in order; `name` stands for the place in messages."""
    if len(content) != _SIZE:
        raise InputError(f"log of {name}: it has {len(content)} bytes, and not {_SIZE}", _NEVER)
    blocks = (content[at : at + _BLOCK] for at in range(0, _SIZE, _BLOCK))
    found = [_piece(block) for block in blocks if block.startswith(_MAGIC)]
    return tuple(sorted(found, key=lambda piece: piece.number))


def _piece(block: bytes) -> Piece:
    """A block that was not full ends in zeros."""
    _, number, since = _HEAD.unpack_from(block)
    return Piece(number, since, block[_HEAD.size :].rstrip(b"\0"))


def _from_folder(data: Path) -> bytes:
    """No link is followed, and no pipe waited for."""
    try:
        with (
            opened(str(data), os.O_DIRECTORY) as top,
            opened(FOLDER, os.O_DIRECTORY | os.O_NOFOLLOW, top) as folder,
            opened(NAME, os.O_NOFOLLOW, folder) as file,
        ):
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise InputError(f"log of {data}: it is not a file", _NEVER)
            with open(file, "rb", closefd=False) as stream:
                return stream.read(_SIZE + 1)
    except OSError as error:
        raise InputError(f"log of {data}: {error.strerror}", _NEVER) from error


@contextmanager
def opened(name: str, flags: int, folder: int | None = None) -> Iterator[int]:
    """A descriptor to read; no pipe is waited for, and no terminal taken."""
    safe = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(name, flags | safe, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _from_disk(disk: Path) -> bytes:
    """From an ext4 image, also of a guest that runs.

    It is not mounted: the host's kernel should not have to trust what a guest has written.
    """
    if not disk.is_file():
        raise InputError(f"{disk} is neither a running instance, a folder nor a disk image")
    tool = find_tool("debugfs", "e2fsprogs")
    argv = [*as_nobody(), tool, "-R", f"cat /{FOLDER}/{NAME}", str(disk.absolute())]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with start_group(argv, cwd="/", **pipes) as process:
        content = _bounded(process.stdout.fileno() if process.stdout else -1)
    if not content:
        raise InputError(f"log of {disk}: debugfs finds none in it", _NEVER)
    return content


def as_nobody() -> list[str]:
    """What a guest has written is not parsed with root's rights: only with that to read."""
    if os.geteuid() != 0:
        return []
    words = [find_tool("setpriv", "util-linux"), f"--reuid={NOBODY}", f"--regid={NOBODY}"]
    words += ["--clear-groups", "--no-new-privs", "--bounding-set=-all,+dac_read_search"]
    words += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
    return [*words, "--"]


def _bounded(stream: int) -> bytes:
    """What comes in time, and little more than a ring has: the file may pretend to be huge."""
    content, deadline = b"", time.monotonic() + _TIMEOUT_S
    while len(content) <= _SIZE and (left := deadline - time.monotonic()) > 0:
        if not select.select([stream], [], [], left)[0]:
            break
        chunk = os.read(stream, 1 << 16)
        if not chunk:
            break
        content += chunk
    return content
