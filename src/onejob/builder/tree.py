"""Lay the entries of a root into a folder: contents, owners, modes, times.

The folder is new and its entries were checked (onejob.builder.entries): no entry lies below a
symbolic link, so ordinary path calls stay inside.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from onejob.base.natives import native_path
from onejob.base.progress import Progress
from onejob.builder.host_file import check_host_symlink, copy_host_file
from onejob.builder.loader_cache import write_loader_cache
from onejob.model.errors import BuildError, LacksError
from onejob.model.plan import PlannedFile


def lay_tree(
    entries: Sequence[PlannedFile],
    generated: Mapping[str, bytes],
    tree: Path,
    progress: Progress,
    host: str = "/",
) -> None:
    """Make `tree` hold exactly `entries` and the `generated` files.

    `entries` come parents first; the files of the host are below `host`. Raises BuildError for one
    that is not what was profiled, LacksError where there is no room or no right to set an owner.
    """
    check_room(entries, tree)
    for number, entry in enumerate(entries):
        progress.step(entry.path, number / len(entries))
        place_entry(entry, inside(tree, entry.path), host)
    for path, content in generated.items():
        write_file(inside(tree, path), content)
    for entry in entries:
        if entry.origin == "ldconfig" and entry.kind == "file":
            write_loader_cache(tree, entry.path)
    for entry in reversed(entries):
        set_owner_and_mode(entry, inside(tree, entry.path))


def inside(tree: Path, path: str) -> Path:
    """Where `path` of the root lies."""
    return tree / path.removeprefix("/")


def check_room(entries: Sequence[PlannedFile], folder: Path) -> None:
    """LacksError before anything is copied, rather than in the middle of it."""
    needed = sum(max(0, entry.size) for entry in entries if entry.origin == "host")
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise LacksError(
            f"{folder.parent}: {free >> 20} MiB free, the root needs {needed >> 20} MiB",
            "free some space, or build on another disk",
        )


def place_entry(entry: PlannedFile, place: Path, host: str) -> None:
    """Make `entry` at `place`, without owner and mode yet."""
    if entry.kind == "directory":
        place.mkdir(mode=0o700, exist_ok=entry.path == "/")
    elif entry.kind == "symlink":
        if entry.origin == "host":
            check_host_symlink(entry, host)
        place.symlink_to(entry.target)
    else:
        with place.open("xb") as file:
            fill_file(entry, file, host)


def fill_file(entry: PlannedFile, file: IO[bytes], host: str) -> None:
    """Write the content of `entry`; the loader's cache comes when all libraries are there."""
    match entry.origin:
        case "host":
            copy_host_file(entry, file, host)
            file.write(entry.text.encode())
        case "text":
            file.write(_as_promised(entry, entry.text.encode()))
        case "native":
            file.write(_as_promised(entry, native_path(entry.native).read_bytes()))


def _as_promised(entry: PlannedFile, content: bytes) -> bytes:
    """`content`, which must have the plan's sha256 where the plan gives one."""
    if entry.sha256 and hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BuildError(f"{entry.path}: not the content that was planned", "plan again")
    return content


def write_file(place: Path, content: bytes, mode: int = 0o444) -> None:
    """A file that the builder makes itself."""
    place.write_bytes(content)
    place.chmod(mode)
    set_time(place, 0)


def set_owner_and_mode(entry: PlannedFile, place: Path) -> None:
    """Exactly the plan's; the mode last, for a change of owner clears the setuid bit."""
    try:
        os.lchown(place, entry.uid, entry.gid)
    except OSError as error:
        raise LacksError(
            f"{entry.path}: its owner cannot be {entry.uid}:{entry.gid} ({error.strerror})",
            "build as root, on a file system that knows owners",
        ) from error
    if entry.kind != "symlink":
        place.chmod(entry.mode)
    set_time(place, entry.modified)


def set_time(place: Path, seconds: int) -> None:
    """When it was modified. Services tell by that whether two contents are the same.

    Web servers do so in ``Last-Modified`` and ``ETag``, and Python in whether a module that was
    compiled is of this source.
    """
    os.utime(place, (seconds, seconds), follow_symlinks=False)
