"""What operations on Windows files, as Procmon names them, say of files and their traffic."""

from collections import Counter
from typing import NamedTuple

from onejob.model.profile import FileKind, FileUse, How, Traffic, Use
from onejob.profiler.imports.processes import MAX_FOLLOWED
from onejob.profiler.imports.procmon import MAX_PATH, Event, number_in
from onejob.profiler.imports.procmon_results import is_missing, succeeded
from onejob.profiler.imports.tally import DRILL, Tally
from onejob.profiler.imports.windows_rows import Rows

_CREATES = {"CreateFile", "CreatePipe", "CreateMailSlot"}
_RENAMES = {
    "SetRenameInformationFile", "SetRenameInformationEx",
    "SetRenameInformationExBypassAccessCheck",
}  # fmt: skip
_DELETES = {"SetDispositionInformationFile", "SetDispositionInformationEx"}
_CHANGES = {
    "SetBasicInformationFile", "SetEndOfFileInformationFile", "SetAllocationInformationFile",
    "SetValidDataLengthInformationFile", "SetShortNameInformation", "SetSecurityFile",
    "SetEAFile",
}  # fmt: skip
_TRANSFERS: dict[str, How] = {"ReadFile": "read", "WriteFile": "written"}
_OTHER_TRAFFIC = {"FlushBuffersFile", "LockFile"}
_NEW = {"Created"}
_PIPES = ("\\device\\namedpipe", "\\device\\mailslot", "\\\\.\\pipe\\")
_WILD = set(
    '*?<>"'
)  # in the last part of a path: what a folder is asked for (FsRtlIsNameInExpression)
_MAKES: set[How] = {"created", "renamed-to"}


class _UseKey(NamedTuple):
    path: str  # in small letters: Windows does not tell them apart
    program: str
    how: How


class WindowsFiles:
    """Counts uses by path, program and way, and operations by path and program."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._uses = Rows[_UseKey](tally)
        self._traffic = Rows[tuple[str, str, str]](tally)  # path, program, operation
        self._bytes: Counter[tuple[str, str, str]] = Counter()
        self._jumps: Counter[tuple[str, str, str]] = Counter()
        self._ends: dict[tuple[int, str], int] = {}  # where a process's next access continues
        self._spelled: dict[str, str] = {}
        self._kinds: dict[str, FileKind] = {}
        self._existed: dict[str, bool] = {}
        self._open: Counter[int] = Counter()
        self.most_open: Counter[str] = Counter()  # in one process, by program

    def take(self, program: str, event: Event) -> bool:
        """Whether the operation is one that says something of files or their traffic."""
        name = event.operation
        if name == "CloseFile":
            self._open[event.process] -= self._open[event.process] > 0
        elif is_missing(event.result):
            return self._missing(program, event)
        elif not succeeded(event.result):
            return False
        elif name in _CREATES:
            self._create(program, event)
        elif name in _TRANSFERS or name in _OTHER_TRAFFIC:
            self._transfer(program, event)
        else:
            return self._other(program, event)
        return True

    def end(self, process: int) -> None:
        """The process is gone, and what it had open."""
        self._open.pop(process, None)

    def use(self, program: str, path: str, how: How, kind: FileKind | None = None) -> None:
        """`program` used `path` once."""
        if not path or "\0" in path or len(path) > MAX_PATH:
            self._tally.miss("paths that no file can have", path)
            return
        key = path.lower()
        if not self._uses.add(_UseKey(key, program, how), len(path)):
            return
        self._spelled.setdefault(key, path)
        if how != "missing":
            self._existed.setdefault(key, how not in _MAKES)
            if kind or key not in self._kinds:
                self._kinds[key] = kind or _kind_of(key)

    def held(self, program: str, path: str, how: How) -> None:
        """`program` had `path` in use when the log began, if it is not known to have used it so."""
        if _UseKey(path.lower(), program, how) not in self._uses:
            self.use(program, path, how)

    def _missing(self, program: str, event: Event) -> bool:
        wild = _WILD & set(event.path.rpartition("\\")[2])
        if event.operation == "QueryDirectory" and wild:
            self.use(program, _folder(event), "listed", "directory")
            return True
        if event.operation in _CREATES | {"QueryOpen", "QueryDirectory"}:
            self.use(program, event.path, "missing")
            return True
        return False

    def _create(self, program: str, event: Event) -> None:
        options = event.detail.get("Options", "").split(", ")
        folder = "Directory" in options
        kind: FileKind | None = "directory" if folder else None
        for how in _ways(event, folder=folder):
            self.use(program, event.path, how, kind)
        if "Delete On Close" in options:
            self.use(program, event.path, "removed", kind)
        if event.result != "REPARSE":
            self._open[event.process] += 1
            self.most_open[program] = max(self.most_open[program], self._open[event.process])

    def _transfer(self, program: str, event: Event) -> None:
        key = event.path.lower()
        if event.operation in _TRANSFERS:
            self.held(program, event.path, _TRANSFERS[event.operation])
        row = key, program, event.operation
        if key not in self._spelled and event.operation in _OTHER_TRAFFIC:
            self._spelled[key] = event.path[:MAX_PATH]
        if len(key) > MAX_PATH or not self._traffic.add(row, len(key)):
            return
        if event.operation in _TRANSFERS:
            length = number_in(event.detail.get("Length", ""))
            self._bytes[row] += length if event.result != "END OF FILE" else 0
            self._jumps[row] += self._is_jump(event, key, length)

    def _is_jump(self, event: Event, key: str, length: int) -> bool:
        place = event.process, key
        text = event.detail.get("Offset", "")
        if not text[:1].isdigit():
            return False  # -1: wherever the file pointer is
        begin, last = number_in(text), self._ends.get(place)
        if len(self._ends) >= MAX_FOLLOWED:
            self._ends.clear()
        self._ends[place] = begin + length
        return last is not None and last != begin

    def _other(self, program: str, event: Event) -> bool:
        name = event.operation
        if name == "QueryDirectory":
            self.use(program, _folder(event), "listed", "directory")
        elif name == "QueryOpen":
            self.use(program, event.path, "looked-up")
        elif name == "CreateFileMapping":
            self.use(program, event.path, "mapped")
        elif name in _DELETES:
            detail = event.detail
            if detail.get("Delete") == "True" or "DELETE" in detail.get("Flags", ""):
                self.use(program, event.path, "removed")
        elif name in _RENAMES:
            self._rename(program, event, "renamed-from", "renamed-to")
        elif name == "SetLinkInformationFile":
            self._rename(program, event, "linked", "created")
        elif name in _CHANGES:
            self.use(program, event.path, "changed")
        else:
            return False
        return True

    def _rename(self, program: str, event: Event, old: How, new: How) -> None:
        self.use(program, event.path, old)
        target = event.detail.get("FileName", "")
        if target:
            self.use(program, target, new, self._kinds.get(event.path.lower()))
        else:
            self._tally.miss("renames and links whose new name the log does not say", event.path)

    def files(self) -> tuple[FileUse, ...]:
        """All files, as far as a log can describe them."""
        uses: dict[str, list[Use]] = {}
        for (path, program, how), count in sorted(self._uses.items()):
            row = Use(program=program, drill=DRILL, how=how, count=count)
            uses.setdefault(path, []).append(row)
        return tuple(self._file(path, tuple(rows)) for path, rows in uses.items())

    def _file(self, key: str, uses: tuple[Use, ...]) -> FileUse:
        existed = self._existed.get(key, False)
        kind: FileKind = self._kinds.get(key, "file") if existed else "missing"
        return FileUse(path=self._spelled[key], kind=kind, existed=existed, uses=uses)

    def traffic(self) -> tuple[Traffic, ...]:
        """Operations on what is open."""
        return tuple(
            Traffic(
                program=program, call_name=operation, drill=DRILL, object=self._spelled[path],
                component="", count=count, bytes=self._bytes[path, program, operation],
                jumps=self._jumps[path, program, operation],
            )
            for (path, program, operation), count in sorted(self._traffic.items())
            if path in self._spelled
        )  # fmt: skip


def _ways(event: Event, *, folder: bool) -> list[How]:
    ways: list[How] = []
    if event.operation != "CreateFile" or event.detail.get("OpenResult") in _NEW:
        ways.append("created")
    access = event.detail.get("Desired Access", "")
    everything = access.startswith("All Access")
    if not folder:
        if everything or "Read Data" in access or "Generic Read" in access:
            ways.append("read")
        if everything or "Write Data" in access or "/Write" in access or "Generic Write" in access:
            ways.append("written")
        elif "Append Data" in access:
            ways.append("appended")
    return ways or ["looked-up"]


def _folder(event: Event) -> str:
    """The folder that was listed; its path has what it was asked for as last part."""
    if not event.detail.get("Filter"):
        return event.path
    folder = event.path.rpartition("\\")[0]
    return folder + "\\" if folder.endswith(":") else folder


def _kind_of(key: str) -> FileKind:
    return "pipe" if key.startswith(_PIPES) else "file"
