"""What lies at the paths that the service used: type, owner, hash, links, needs, package.

Looked at on the host after the run, which the run did not change: so it is the state before it.
A path is followed component by component; each symbolic link on the way is an entry of its own,
and uses are booked on the path where they end.
"""

import hashlib
import os
import posixpath
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from onejob.base.files import open_regular
from onejob.model.file_uses import is_written
from onejob.model.paths import is_pseudo
from onejob.model.profile import FileUse, How, Origin, Use
from onejob.profiler.elf import read_needs
from onejob.profiler.packages import owner_of
from onejob.profiler.recording import Recording, kind_of, normal_path, ways_of

_MAX_LINKS = 40
_LATEST = 2**32 - 1  # squashfs has 32 bits for a time
# What is done to the entry itself, even to a symbolic link (unlink(2), rename(2), link(2)).
_OF_THE_ENTRY: frozenset[How] = frozenset({"removed", "renamed-from", "renamed-to", "linked"})
_Key = tuple[str, str, How]  # program, drill, how


class Describer:
    """Gathers uses by path, then describes each path once."""

    def __init__(self) -> None:
        self._uses: defaultdict[str, Counter[_Key]] = defaultdict(Counter)
        self._origin: dict[str, Origin] = {}

    def add(self, path: str, program: str, drill: str, how: How, count: int) -> None:
        """`program` used `path` in `drill`."""
        *links, end = follow(path, last=how not in _OF_THE_ENTRY)
        for link in links:
            self._uses[link][program, drill, "looked-up"] += count
            self._origin[link] = "observed"
        self._uses[end][program, drill, how] += count
        self._origin[end] = "observed"

    def add_needed(self, path: str, origin: Origin) -> None:
        """`path` is needed though nobody was seen to use it."""
        for part in follow(path):
            self._uses.setdefault(part, Counter())
            self._origin.setdefault(part, origin)

    def complete(self) -> tuple[FileUse, ...]:
        """All paths with what is there: the ELF closure and the directories above are added."""
        described: dict[str, FileUse] = {}
        while todo := sorted(self._uses.keys() - described.keys()):
            for path in todo:
                described[path] = self._describe(path)
                self._add_around(described[path])
        return tuple(described[path] for path in sorted(described))

    def _add_around(self, file: FileUse) -> None:
        if is_pseudo(file.path):
            return
        for needed in (*file.needed, *([file.interpreter] if file.interpreter else [])):
            self.add_needed(needed, "static")
        made_in_run = any(use.how in ("created", "renamed-to") for use in file.uses)
        if (file.kind != "missing" or made_in_run) and file.path != "/":
            self.add_needed(posixpath.dirname(file.path), "static")

    def _describe(self, path: str) -> FileUse:
        uses = tuple(
            Use(program=program, drill=drill, how=how, count=count)
            for (program, drill, how), count in sorted(self._uses[path].items())
        )
        return describe_path(path, uses, self._origin[path])


def describe_path(path: str, uses: tuple[Use, ...], origin: Origin) -> FileUse:
    """What is at `path` on this machine (not followed)."""
    try:
        status = os.lstat(path)
    except OSError:
        return FileUse(path=path, kind="missing", existed=False, uses=uses, origin=origin)
    kind = kind_of(status.st_mode)
    facts = FileUse(
        path=path, kind=kind, mode=stat.S_IMODE(status.st_mode), uid=status.st_uid,
        gid=status.st_gid, uses=uses, origin=origin,
    )  # fmt: skip
    if is_pseudo(path):
        return facts
    if kind == "symlink":
        return facts.model_copy(update={"target": os.readlink(path), "package": owner_of(path)})
    if kind != "file":
        return facts
    # The time of a file that the service writes says nothing that is true of another run.
    modified = 0 if is_written(facts) else min(max(int(status.st_mtime), 0), _LATEST)
    return _describe_content(facts.model_copy(update={"modified": modified}), status.st_size)


def _describe_content(facts: FileUse, size: int) -> FileUse:
    needs = read_needs(Path(facts.path))
    return facts.model_copy(
        update={
            "size": size,
            "sha256": hash_file(Path(facts.path)),
            "package": owner_of(facts.path),
            "needed": needs.libraries if needs else (),
            "interpreter": needs.interpreter if needs else "",
        }
    )


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; empty where it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def follow(path: str, *, last: bool = True) -> list[str]:
    """The symbolic links met on the way of `path`, in order, then where it ends (canonical).

    A link in the last place is itself the end where not `last`, and where links go in a circle.
    """
    links: list[str] = []
    todo = normal_path(path).strip("/").split("/")
    done = ""
    while todo and len(links) < _MAX_LINKS:
        part = todo.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = posixpath.dirname(done).rstrip("/")
            continue
        here = f"{done}/{part}"
        if not os.path.islink(here) or is_pseudo(here) or not (todo or last):
            done = here
            continue
        links.append(here)
        target = os.readlink(here)
        done = "" if target.startswith("/") else done
        todo = target.strip("/").split("/") + todo
    if todo:
        return list(dict.fromkeys(links))
    return [*links, done or "/"]


def describe_recording(recording: Recording, include: Iterable[str]) -> tuple[FileUse, ...]:
    """Every path of `recording`, and all content below the workload's `include` paths."""
    programs = {program.id: program.path for program in recording.programs}
    describer = Describer()
    for seen in recording.files:
        for how in ways_of(seen):
            program, drill = programs[seen.program], recording.drills[seen.drill]
            describer.add(seen.path, program, drill, how, seen.count)
    for path in include:
        for found in walk(path):
            describer.add_needed(found, "user")
    return describer.complete()


def walk(path: str) -> Iterator[str]:
    """`path` and everything below it, links not followed."""
    yield path
    for folder, folders, files in os.walk(path):
        for name in sorted((*folders, *files)):
            yield f"{folder.rstrip('/')}/{name}"
