"""Copy what the plan takes from the host, exactly as it was profiled, following no symbolic link.

The plan's paths are canonical, so a symbolic link on the way to a file means that the host has
changed since; openat(2) with O_NOFOLLOW, component by component, sees that.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from onejob.builder.entries import path_parts
from onejob.model.errors import BuildError
from onejob.model.plan import PlannedFile

_CHUNK = 1024 * 1024
_DIRECTORY = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a file that has become a FIFO must not hold up the build.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def copy_host_file(file: PlannedFile, into: IO[bytes], host: str = "/") -> None:
    """Write the bytes of the host's `file` to `into`; BuildError unless they have its sha256."""
    with _open_host_file(file, host) as source:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise changed(file, "is no longer a regular file")
        if os.fstat(source).st_size != file.size:
            raise changed(file, f"has {os.fstat(source).st_size} bytes, had {file.size}")
        found = hashlib.sha256()
        # One byte more than planned shows a file that grows, and no more is read of it.
        for chunk in _chunks(source, file.size + 1):
            found.update(chunk)
            into.write(chunk)
    if found.hexdigest() != file.sha256:
        raise changed(file, "has another content")


def check_host_symlink(link: PlannedFile, host: str = "/") -> None:
    """BuildError unless the host's symbolic link still points where the plan says."""
    with _open_parent(link, host) as (parent, name):
        try:
            target = os.readlink(name, dir_fd=parent)
        except OSError as error:
            raise changed(link, "is no longer a symbolic link") from error
    if target != link.target:
        raise changed(link, f"points to {target}, did to {link.target}")


def changed(file: PlannedFile, how: str) -> BuildError:
    """The error for a host that is not what was profiled."""
    return BuildError(
        f"{file.path} changed since it was profiled: it {how}", "profile the service again"
    )


@contextmanager
def _open_host_file(file: PlannedFile, host: str) -> Iterator[int]:
    with _open_parent(file, host) as (parent, name):
        try:
            source = os.open(name, _FILE, dir_fd=parent)
        except OSError as error:
            raise changed(file, f"cannot be opened ({error.strerror})") from error
    try:
        yield source
    finally:
        os.close(source)


@contextmanager
def _open_parent(file: PlannedFile, host: str) -> Iterator[tuple[int, str]]:
    """The directory that holds `file`, and the file's name in it."""
    *folders, name = path_parts(file.path)
    directory = os.open(host, _DIRECTORY)
    try:
        for folder in folders:
            directory = _enter(directory, folder, file)
        yield directory, name
    finally:
        os.close(directory)


def _enter(directory: int, folder: str, file: PlannedFile) -> int:
    """`folder` inside `directory`, which is closed; left open where that fails."""
    try:
        inner = os.open(folder, _DIRECTORY, dir_fd=directory)
    except OSError as error:
        raise changed(file, f"is not reached through {folder!r} ({error.strerror})") from error
    os.close(directory)
    return inner


def _chunks(source: int, limit: int) -> Iterator[bytes]:
    while limit > 0 and (chunk := os.read(source, min(_CHUNK, limit))):
        limit -= len(chunk)
        yield chunk
