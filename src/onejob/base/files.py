"""Files written whole or not at all, and read only if they are files."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

from onejob.model.errors import LacksError


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Replace `path` by `data`, whole or in parts; where that fails, what was there is still there.

    LacksError with the system's reason (no space, no such folder, read-only).
    """
    temporary = ""
    parts = (data,) if isinstance(data, bytes) else data
    try:
        path = path.resolve()  # a link stays, what it points to is replaced
        if path.exists() and not path.is_file():
            with path.open("wb") as file:  # a pipe, /dev/null: there is nothing that could be lost
                file.writelines(parts)
            return
        folder = path.parent
        descriptor, temporary = tempfile.mkstemp(prefix=".onejob-", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise LacksError(
            f"cannot write {path}: {error.strerror}", "make room, or write elsewhere"
        ) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def open_regular(path: Path) -> BufferedReader:
    """A regular file, to be read; OSError where it is another thing: a pipe would block."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "not a regular file", str(path))
