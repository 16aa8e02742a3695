"""Which files each program may change or execute: the plan's grants, for Landlock.

A grant is of a folder: files in it come and go, by rotation or by being replaced, and what is not
there yet cannot be named to the kernel. Of devices and programs it is of the file itself.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set

from onejob.model.file_uses import WRITES, write_reason
from onejob.model.paths import is_below, is_pseudo, resolve
from onejob.model.plan import Mount, PlannedFile
from onejob.model.plan_policy import Grant, Right
from onejob.model.profile import FileUse, How, Profile
from onejob.planner.evidence import Evidence
from onejob.planner.files import INIT_PATH

# What the kernel refuses whoever is under Landlock (landlock(7), "Current limitations").
_MOUNTING = ("mount", "umount2", "move_mount", "pivot_root")
CONSOLE = "/dev/console"
_OWN_OUTPUT = ("/dev/stdout", "/dev/stderr", "/dev/fd", "/proc/self/fd")

# What brings a new entry that is no regular file, by the kind of the entry.
_MAKES: tuple[tuple[str, Right, frozenset[str]], ...] = (
    ("directory", "make-dir", frozenset({"mkdir", "mkdirat"})),
    ("symlink", "make-sym", frozenset({"symlink", "symlinkat"})),
    ("pipe", "make-fifo", frozenset({"mknod", "mknodat"})),
)
Change = tuple[str, str, set[Right], str]  # program, path, rights, reason
_Rights = dict[tuple[str, str], tuple[set[Right], str]]  # program, path: rights, reason


def mounting_call(evidence: Evidence) -> str | None:
    """A call with which the service mounts; it could not under any domain of Landlock."""
    return next((call for call in _MOUNTING if evidence.succeeded(call)), None)


def plan_grants(
    profile: Profile,
    mounts: Iterable[Mount],
    files: Iterable[PlannedFile],
    ours: Iterable[Change] = (),
) -> tuple[Grant, ...]:
    """The grants by program and path; `ours` are for what the plan itself puts into programs.

    A process keeps the restrictions of whoever executed it, so each program also has the grants of
    all that it starts. Process 1 has all of them: it puts them on the service's first process.
    """
    found: _Rights = {}
    places = _Places(profile, mounts, files)
    changes = tuple(_changes(profile, places))
    for program, path, rights, reason in (
        *changes,
        *_moves(profile, places, changes),
        *_executions(profile),
        *ours,
    ):
        found.setdefault((program, path), (set(), reason))[0].update(rights)
    return tuple(
        Grant(program=program, path=path, rights=tuple(sorted(rights)), reason=reason)
        for (program, path), (rights, reason) in sorted(_closed(found, profile).items())
    )


class _Places:
    """To which folder a change of a file is granted."""

    def __init__(
        self, profile: Profile, mounts: Iterable[Mount], files: Iterable[PlannedFile]
    ) -> None:
        files = tuple(files)
        self._tops = {mount.path for mount in mounts if mount.kind in ("data", "tmpfs")}
        passing = {file.path for file in profile.files if _comes_and_goes(file)}
        planned = {file.path for file in files if file.kind == "directory"}
        self._there = planned - passing | self._tops
        self.carried = frozenset(file.path for file in files)

    def of(self, path: str) -> str:
        """The nearest folder above `path` that is there at boot; "" where nothing can be changed.

        Of what the kernel makes up it is the file itself, and all of /proc, where each process has
        entries of its own.
        """
        if any(is_below(path, own) for own in _OWN_OUTPUT):
            return CONSOLE
        if any(is_below(path, top) for top in self._tops):
            folder = posixpath.dirname(path)
            while folder not in self._there:
                folder = posixpath.dirname(folder)
            return folder
        own = is_below(path, "/proc") and not is_below(path, "/proc/sys")
        return "/proc" if own else path if is_pseudo(path) else ""


def _comes_and_goes(file: FileUse) -> bool:
    entry = {"created", "removed", "renamed-from", "renamed-to"}
    return not file.existed or any(use.how in entry for use in file.uses)


def _changes(profile: Profile, places: _Places) -> Iterator[Change]:
    """What each program was seen to change."""
    called = defaultdict[str, set[str]](set)
    for call in profile.calls:
        called[call.program].add(call.call_name)
    for file in profile.files:
        place = places.of(file.path)
        for program in sorted({use.program for use in file.uses if use.how in WRITES and place}):
            uses = tuple(use for use in file.uses if use.program == program)
            reason = f"{file.path} {write_reason(file.model_copy(update={'uses': uses}))}"
            rights = {r for use in uses for r in _rights(use.how, file, called[program])}
            if "write-file" in rights and file.kind == "file" and file.path not in places.carried:
                rights.add("make-reg")  # it was there when profiled, and is not in the image
            if is_pseudo(place) and not is_below(place, "/dev/shm"):
                rights &= {"write-file"}
            if rights:
                yield program, place, rights, reason


def _rights(how: How, file: FileUse, called: Set[str]) -> Iterator[Right]:
    """What a kind of change takes (landlock(7)). `called`: the program's calls, as nobody knows
    what was at a path where now there is nothing.
    """
    gone = file.kind == "missing"
    if how in ("written", "appended", "created", "renamed-to"):
        yield "write-file"
    if how == "written":
        yield "truncate"  # an open that makes the file empty is a kind of writing, too
    if how in ("created", "renamed-to"):
        yield "make-reg"
        yield from (
            right for kind, right, c in _MAKES if file.kind == kind or (gone and called & c)
        )
    if how == "bound" or (how in ("created", "renamed-to") and file.kind == "socket"):
        yield "make-sock"
    if how in ("removed", "renamed-from", "renamed-to"):
        yield "remove-file"
        if file.kind == "directory" or (gone and called & {"rmdir", "unlinkat", "mkdir"}):
            yield "remove-dir"


def _moves(profile: Profile, places: _Places, changes: Iterable[Change]) -> Iterator[Change]:
    """What is moved must not gain rights by it, so folders between which files are moved are alike.

    Which they are is not in a profile: all that the program moves from or to, then.
    """
    sides = defaultdict[str, dict[str, set[str]]](lambda: {"from": set(), "to": set()})
    for file in profile.files:
        for use in file.uses:
            side = {"renamed-from": "from", "linked": "from", "renamed-to": "to"}.get(use.how)
            if side and (place := places.of(file.path)):
                sides[use.program][side].add(place)
    rights = defaultdict[str, set[Right]](set)
    for program, path, each, _ in changes:
        if path in sides[program]["from"] | sides[program]["to"]:
            rights[program] |= each
    for program, found in sides.items():
        folders = found["from"] | found["to"]
        if len(folders) > 1:
            reason = f"{program} moves files between {', '.join(sorted(folders))}"
            for folder in folders:
                yield program, folder, rights[program] | {"refer"}, reason


def _executions(profile: Profile) -> Iterator[Change]:
    """What each program was seen to execute, and process 1 the first, with what the kernel opens
    for it.
    """
    started = {(INIT_PATH, profile.program, "process 1 starts it")}
    for start in profile.starts:
        if start.how == "exec":
            started.add((start.program, start.child, f"{start.child} executed in {start.drill}"))
    for program, child, reason in sorted(started):
        for path in _executable(profile, child):
            yield program, path, {"execute"}, reason


def _executable(profile: Profile, program: str) -> Iterator[str]:
    """What the kernel opens to execute `program`: the file or script, and the interpreters."""
    links = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    end = resolve(program, links)[-1]
    executors = {
        file.path: {use.program for use in file.uses if use.how == "executed"}
        for file in profile.files
    }
    processes = {end} | executors.get(end, set())  # that of a script has its interpreter's name
    for file in profile.files:
        if file.path in processes or executors[file.path] & processes:
            yield file.path
            if file.interpreter:
                yield resolve(file.interpreter, links)[-1]


def _closed(own: _Rights, profile: Profile) -> _Rights:
    """With the grants of what each program executes; without those that a folder above has."""
    programs = sorted({program for program, _ in own if program.startswith("/")})
    children = defaultdict[str, set[str]](set, {INIT_PATH: set(programs)})
    for start in profile.starts:
        if start.how == "exec":
            children[start.program].add(start.child)
    found: _Rights = {}
    for program in programs:
        rights = _of_all(_family(program, children), own)
        for path, value in rights.items():
            above = (rights[top][0] for top in rights if top != path and is_below(path, top))
            if not any(value[0] <= other for other in above):
                found[program, path] = value
    return found


def _of_all(programs: Iterable[str], own: _Rights) -> dict[str, tuple[set[Right], str]]:
    """The grants of several programs together, by path."""
    rights: dict[str, tuple[set[Right], str]] = {}
    for program in programs:
        for (owner, path), (each, reason) in own.items():
            if owner == program:
                known, first = rights.get(path, (set[Right](), reason))
                rights[path] = known | each, first
    return rights


def _family(program: str, children: Mapping[str, Set[str]]) -> list[str]:
    """A program, and all that it and they execute."""
    family = [program]
    for member in family:
        family += sorted(children.get(member, set()) - set(family))
    return family
