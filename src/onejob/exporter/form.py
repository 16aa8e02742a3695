"""What every export has: a new folder, filled by its kind, with instructions beside the files."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from onejob.model.errors import InputError, LacksError

README = "README.md"


class Export(NamedTuple):
    """What was made: its `title`, and the `steps` that put it to work."""

    title: str
    steps: str


def to_text(data: Any) -> str:
    """JSON in one stable form."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """A folder that is filled beside `destination`, and there when it is whole; else nothing is.

    InputError where something is there already, LacksError where it cannot be written.
    """
    destination = destination.absolute()
    if os.path.lexists(destination):
        raise InputError(f"{destination} exists already", "choose another -o, or move it away")
    if not destination.parent.is_dir():
        raise InputError(f"{destination.parent} is no directory", "make it, or choose another -o")
    shop = None
    try:
        shop = Path(tempfile.mkdtemp(prefix=".onejob-", dir=destination.parent))
        folder = shop / "export"
        folder.mkdir(mode=0o755)
        yield folder
        folder.rename(destination)
    except OSError as error:
        hint = "make room, or choose another -o; nothing was left"
        raise LacksError(f"cannot write {destination}: {error.strerror}", hint) from error
    finally:
        if shop is not None:
            shutil.rmtree(shop, ignore_errors=True)
