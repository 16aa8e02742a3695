"""Files written whole or not at all."""

import os
import tempfile
from pathlib import Path

from onejob.model.errors import LacksError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`; where that fails, what was there is still there.

    LacksError with the system's reason (no space, no such folder, read-only).
    """
    temporary = ""
    try:
        path = path.resolve()  # a link stays, what it points to is replaced
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a pipe or /dev/null: there is nothing that could be lost
            return
        folder = path.parent
        descriptor, temporary = tempfile.mkstemp(prefix=".onejob-", dir=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
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
