"""Which instances run on this machine: a folder of root's for each, below /run/onejob.

It holds what is known of the instance, and the socket at which it is asked (onejob.system.asked).
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from onejob.model.errors import InputError, LacksError
from onejob.model.jsonfile import load_json, to_json
from onejob.model.noun import Noun
from onejob.system.serving import Place

FOLDER = Path("/run/onejob")
SOCKET = "socket"
_ENTRY = "instance.json"
_MOST_OF_A_NAME = 1000


class Registered(Noun):
    """A running instance of `service`; `since` in seconds since 1970.

    `data` is where its data lies, empty where it has none.
    """

    name: Annotated[str, Field(pattern=r"^[^/\x00]{1,80}$")]
    service: str
    image: str
    where: Literal["host", "qemu"]
    pid: int
    since: int
    ports: tuple[str, ...]
    data: str = ""

    @property
    def folder(self) -> Path:
        """The image's."""
        return Path(self.image)

    @property
    def place(self) -> Place:
        """Where it is asked."""
        return Place(FOLDER / self.name / SOCKET)


@contextmanager
def registered(entry: Registered) -> Iterator[Registered]:
    """Have `entry` found as long as the context lasts, under its name or the next free one."""
    folder = _take_folder(entry.name)
    entry = entry.model_copy(update={"name": folder.name})
    try:
        with (folder / _ENTRY).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until we end, however that happens
            file.write(to_json(entry))
            file.flush()
            yield entry
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # others are in it
            FOLDER.rmdir()


def _take_folder(name: str) -> Path:
    """A new folder, root's alone; what an instance left that was killed is replaced."""
    for number in range(1, _MOST_OF_A_NAME):
        folder = FOLDER / (name if number == 1 else f"{name}-{number}")
        for _ in range(2):
            try:
                FOLDER.mkdir(mode=0o755, exist_ok=True)
                folder.mkdir(mode=0o700)
            except FileNotFoundError:
                continue  # the last one that ran took the common folder away
            except FileExistsError:
                if not _is_left(folder):
                    break
                shutil.rmtree(folder, ignore_errors=True)
            else:
                return folder
    raise LacksError(f"{_MOST_OF_A_NAME} instances are called {name}", f"look into {FOLDER}")


def _is_left(folder: Path) -> bool:
    """Whether whoever made `folder` is gone: nobody holds the lock of its entry."""
    if _read(folder) is None:
        return False
    try:
        with (folder / _ENTRY).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def _read(folder: Path) -> Registered | None:
    """None while it is made or taken away."""
    try:
        return load_json(folder / _ENTRY, Registered, "instance")
    except InputError:
        return None


def running() -> tuple[Registered, ...]:
    """All instances that run, by name."""
    try:
        names = sorted(os.listdir(FOLDER))
    except OSError:
        return ()
    found = [(FOLDER / name, _read(FOLDER / name)) for name in names]
    return tuple(entry for folder, entry in found if entry is not None and not _is_left(folder))


def find(name: str) -> Registered:
    """The running instance `name`; InputError lists those that there are."""
    for entry in running():
        if entry.name == name:
            return entry
    names = ", ".join(entry.name for entry in running())
    raise InputError(
        f"no instance {name} runs on this machine",
        f"there are: {names}" if names else "start one with: onejob run IMAGE",
    )
