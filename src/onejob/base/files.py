"""Files written whole or not at all."""

import os
import tempfile
from pathlib import Path

from onejob.model.errors import LacksError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data`; where that fails, what was there is still there.

    LacksError with the system's reason (no space, no such folder, read-only).
    """
    folder = path.parent
    temporary = ""
    try:
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
