"""A repository's folder: ``metadata/`` and ``targets/``, whose entries are plain files.

Whoever serves a repository may be able to write to it, so names are looked up in directories that
are held open, links are not followed, and an entry is replaced, never written into.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from onejob.model.errors import InputError, LacksError

METADATA = "metadata"
TARGETS = "targets"
_CHUNK = 64 * 1024
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Entries:
    """The files of one directory that is held open."""

    descriptor: int
    path: Path

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of `name`; OSError where it is no regular file of this directory."""
        if "/" in name:
            raise OSError(errno.EINVAL, "not the name of an entry", name)
        with os.fdopen(os.open(name, _LOOK, dir_fd=self.descriptor), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", name)
            while chunk := file.read(_CHUNK):
                yield chunk

    def has(self, name: str) -> bool:
        """Whether there is an entry `name`."""
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            return True
        return False

    def read(self, name: str, limit: int) -> bytes:
        """The whole of `name`; InputError where it is missing, strange or larger than `limit`."""
        data = b""
        try:
            for chunk in self.chunks(name):
                data += chunk
                if len(data) > limit:
                    raise InputError(f"{self.path / name}: larger than {limit} bytes")
        except OSError as error:
            raise InputError(f"{self.path / name}: {error.strerror}") from error
        return data

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Make `name` be those bytes, readable by all, once all of them are on the disk."""
        temporary = f".onejob-{os.urandom(8).hex()}"
        try:
            with os.fdopen(os.open(temporary, _MAKE, 0o644, dir_fd=self.descriptor), "wb") as file:
                file.writelines(parts)
                file.flush()
                os.fchmod(file.fileno(), 0o644)  # whatever the umask: it is there to be served
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            os.fsync(self.descriptor)
        except OSError as error:
            words = f"cannot write {self.path / name}: {error.strerror}"
            raise LacksError(words, "make room, or see that you may write there") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self.descriptor)


@dataclass(frozen=True)
class Store:
    """The two directories of a repository."""

    path: Path
    metadata: Entries
    targets: Entries


@contextmanager
def open_store(path: Path, *, exclusive: bool = False) -> Iterator[Store]:
    """The repository at `path`; `exclusive` waits until nobody else pushes to it.

    InputError where it is none.
    """
    with ExitStack() as stack:
        found = {}
        for name in (METADATA, TARGETS):
            try:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(path / name, flags)
            except OSError as error:
                hint = "make one: onejob push --create --to FOLDER --keys FOLDER"
                words = f"{path} is not a repository: {name}: {error.strerror}"
                raise InputError(words, hint) from error
            stack.callback(os.close, descriptor)
            found[name] = Entries(descriptor, path / name)
        if exclusive:
            fcntl.flock(found[METADATA].descriptor, fcntl.LOCK_EX)
        yield Store(path, found[METADATA], found[TARGETS])


def make_store(path: Path) -> None:
    """An empty repository at `path`, which is new or an empty directory."""
    try:
        path.mkdir(exist_ok=True)
        if any(path.iterdir()):
            raise InputError(f"{path} is not empty", "leave --create out, or choose another --to")
        for name in (METADATA, TARGETS):
            (path / name).mkdir()
            (path / name).chmod(0o755)
    except OSError as error:
        raise InputError(f"cannot make {path}: {error.strerror}") from error
