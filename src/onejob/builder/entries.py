"""The plan's files as the root will have them: checked, completed, parents first.

A plan may come from anywhere, so nothing is written before every path is known to stay inside the
root and to fit the others.
"""

import posixpath
import re
from collections.abc import Iterable

from onejob.builder.instance import DATA, FILTERS, INSTANCE
from onejob.builder.memory import PLAN_PATH
from onejob.model.errors import BuildError
from onejob.model.plan import Mount, Plan, PlannedFile

# linux/limits.h: NAME_MAX, and PATH_MAX without its final zero byte.
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4095
# Written by the builder itself; a plan that brings its own is refused.
GENERATED = (INSTANCE, FILTERS, PLAN_PATH)

_NATIVE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def complete_entries(plan: Plan) -> tuple[PlannedFile, ...]:
    """All entries of the root except the generated files, each after its parent directory.

    Adds the directories that the plan implies: parents, mountpoints, and process 1's own.
    BuildError names the entry that cannot be.
    """
    entries: dict[str, PlannedFile] = {}
    for file in plan.files:
        check_entry(file)
        if file.path in entries:
            raise _refusal(file.path, "is planned twice")
        entries[file.path] = file
    for directory in _implied_directories(plan):
        entries.setdefault(directory.path, directory)
    for entry in entries.values():
        _check_parents(entry.path, entries)
    _check_mountpoints(plan.mounts, entries)
    return tuple(sorted(entries.values(), key=lambda entry: path_parts(entry.path)))


def path_parts(path: str) -> tuple[str, ...]:
    """The names that `path` consists of; none for the root itself."""
    return tuple(part for part in path.split("/") if part)


def check_entry(file: PlannedFile) -> None:
    """BuildError unless `file` is by itself something that a root can have."""
    _check_path(file.path)
    if file.path in GENERATED:
        raise _refusal(file.path, "is written by the builder")
    if complaint := _complaint(file):
        raise _refusal(file.path, complaint)


def _check_path(path: str) -> None:
    if posixpath.normpath(path) != path or not path.startswith("/") or path.startswith("//"):
        raise _refusal(path, "is not a plain absolute path")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in path_parts(path)):
        raise _refusal(path, f"has a name of more than {MAX_NAME_BYTES} bytes")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise _refusal(path, f"has more than {MAX_PATH_BYTES} bytes")


def _complaint(file: PlannedFile) -> str:
    """What is wrong with `file` beyond its path; empty where nothing is."""
    if file.kind == "directory":
        return ""
    if file.path == "/":
        return f"is a {file.kind}, must be a directory"
    if file.kind == "symlink":
        fits = 0 < len(file.target.encode()) <= MAX_PATH_BYTES and "\0" not in file.target
        return "" if fits else "is a symbolic link without a usable target"
    return _content_complaint(file)


def _content_complaint(file: PlannedFile) -> str:
    if file.mode & 0o6000 and not file.set_id:
        return f"has the rights of its owner (mode {file.mode:04o}), and the plan does not say why"
    match file.origin:
        case "host" if not _SHA256.fullmatch(file.sha256):
            return "is a host's file without the sha256 that it must have"
        case "native" if not _NATIVE_NAME.fullmatch(file.native):
            return f"names no native part: {file.native!r}"
        case "none":
            return "is a file without an origin"
    return ""


def _implied_directories(plan: Plan) -> Iterable[PlannedFile]:
    for mount in plan.mounts:
        _check_path(mount.path)
        yield _directory(mount.path, f"mountpoint: {mount.reason}")
    # Only process 1 has business there; what it mounts from there is reached elsewhere.
    yield _directory("/.onejob", "process 1", mode=0o700)
    yield _directory(DATA, "mountpoint of the data partition", mode=0o700)
    paths = [file.path for file in plan.files] + [mount.path for mount in plan.mounts]
    for parent in sorted({p for path in paths for p in parents(path)} | {"/"}):
        yield _directory(parent, "parent directory")


def parents(path: str) -> list[str]:
    """Every directory above `path`, the root first."""
    parts = path_parts(path)
    return ["/" + "/".join(parts[:length]) for length in range(len(parts))]


def _directory(path: str, reason: str, mode: int = 0o755) -> PlannedFile:
    return PlannedFile(path=path, kind="directory", origin="none", reasons=(reason,), mode=mode)


def _check_parents(path: str, entries: dict[str, PlannedFile]) -> None:
    for parent in parents(path):
        if entries[parent].kind != "directory":
            raise _refusal(path, f"lies below {parent}, which is a {entries[parent].kind}")


def _check_mountpoints(mounts: Iterable[Mount], entries: dict[str, PlannedFile]) -> None:
    for mount in mounts:
        if entries[mount.path].kind != "directory":
            raise _refusal(mount.path, f"is a mountpoint, planned as a {entries[mount.path].kind}")


def _refusal(path: str, what: str) -> BuildError:
    return BuildError(f"plan: {path!r} {what}", "plan again: onejob build PROFILE does so")
