"""The files of an image's root, read without mounting it, and written as a tar archive.

An image may come from anywhere: the root is read by an ordinary program, nothing of it is laid out
on a disk of ours, and each entry is looked at before it goes on. What is compressed can be far
larger than it seems, so there are limits for all of it and for a file.
"""

import io
import resource
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from onejob.base.process import find_tool, start_group
from onejob.model.errors import BuildError, InputError
from onejob.model.image import Image

_LIMIT_S = 600
MOST_BYTES = 16 * 1024**3
MOST_BYTES_OF_FILE = 1024**3  # it is read into memory
_AGAIN = "build the image again"
_KINDS = {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE}


class Entry(NamedTuple):
    """A file, folder or symbolic link: its description, and its content (empty but of a file)."""

    info: tarfile.TarInfo
    content: bytes

    @property
    def path(self) -> str:
        """As the service knows it."""
        return f"/{self.info.name}"


def root_entries(image: Image) -> Iterator[Entry]:
    """Every entry of the root but the root itself, in the order of the paths.

    InputError for a root that cannot be read so, or holds what no image has.
    """
    if image.plan.root.filesystem != "squashfs":
        raise InputError(
            f"image {image.folder}: its root is {image.plan.root.filesystem}",
            "only a squashfs root can be exported as files; plan it so",
        )
    with _as_tar(image.root) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for info in sorted(archive, key=lambda info: info.name):
            _check(info, image.folder)
            file = archive.extractfile(info) if info.isreg() else None
            yield Entry(_plain(info), file.read() if file else b"")


@contextmanager
def _as_tar(root: Path) -> Iterator[IO[bytes]]:
    """What is behind the squashfs (the hash tree) its reader does not look at."""
    tool = find_tool("sqfs2tar", "squashfs-tools-ng")
    command = [tool, "--no-xattr", "--no-hard-links", "--no-skip", str(root)]
    with tempfile.TemporaryFile() as stream, tempfile.TemporaryFile() as said:
        with start_group(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=said) as process:
            with suppress(ProcessLookupError):  # it has ended
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
            try:
                process.wait(_LIMIT_S)
            except subprocess.TimeoutExpired as error:
                raise BuildError(f"reading {root} took longer than {_LIMIT_S} s") from error
        if process.returncode == -signal.SIGXFSZ or stream.tell() > MOST_BYTES:
            raise InputError(f"the files in {root} are more than {MOST_BYTES} bytes", _AGAIN)
        if process.returncode != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip() or "it printed nothing"
            raise BuildError(f"sqfs2tar cannot read {root}: {words.splitlines()[-1]}")
        stream.seek(0)
        yield stream


def _check(info: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(info.name)
    if info.type not in _KINDS or path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError(
            f"image {folder}: its root holds {info.name!r}, which is no file, folder or link",
            _AGAIN,
        )
    if info.size > MOST_BYTES_OF_FILE:
        most = f"more than {MOST_BYTES_OF_FILE} bytes"
        raise InputError(f"image {folder}: {info.name!r} in its root has {most}", _AGAIN)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Path, kind, rights, owner and size; no time, no names of accounts."""
    plain = tarfile.TarInfo(info.name)
    plain.type, plain.mode, plain.uid, plain.gid = info.type, info.mode & 0o7777, info.uid, info.gid
    plain.linkname = info.linkname
    plain.size = info.size if info.isreg() else 0
    return plain


def folder_entry(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Entry:
    """A folder to add to those of a root."""
    info = tarfile.TarInfo(path.lstrip("/"))
    info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, uid, gid
    return Entry(info, b"")


def file_entry(path: str, content: bytes, mode: int = 0o644) -> Entry:
    """A file to add to those of a root."""
    info = tarfile.TarInfo(path.lstrip("/"))
    info.mode, info.size = mode, len(content)
    return Entry(info, content)


def write_tar(
    target: IO[bytes], entries: Iterable[Entry], keep: Callable[[Entry], bool] = lambda entry: True
) -> None:
    """Write those of `entries` that `keep` wants: same entries, same bytes."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            if keep(entry):
                archive.addfile(entry.info, io.BytesIO(entry.content))
