"""Process Monitor's CSV files: columns in any order, UTF-8 or UTF-16, fields that span lines."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping
from functools import partial

from onejob.model.profile import WINDOWS
from onejob.profiler.imports.processes import MAX_FOLLOWED
from onejob.profiler.imports.procmon import (
    MAX_NAME,
    MAX_PATH,
    TOO_MANY,
    Event,
    ProcessSeen,
    file_name,
    number_in,
    read_detail,
)
from onejob.profiler.imports.source import MAX_LINE_BYTES, Source
from onejob.profiler.imports.tally import Tally

UNREAD = "rows that are none of Procmon's"
_NEEDED = ("Process Name", "PID", "Operation", "Path", "Result")
_CHUNK = 2**16
_PID = re.compile("[0-9]{1,10}")
# What is of use of each operation's details; the other names say where a value ends.
_CREATE = (
    "Desired Access", "Disposition", "Options", "Attributes", "ShareMode", "AllocationSize",
    "Impersonating", "OpenResult",
)  # fmt: skip
_TRAFFIC = ("Offset", "Length", "I/O Flags", "Priority")
_NETWORK = ("Length", "startime", "mss", "seqnum")
_EXIT = ("Exit Status", "Peak Working Set")
_DETAILS: dict[str, tuple[str, ...]] = {
    "CreateFile": _CREATE, "CreatePipe": _CREATE, "CreateMailSlot": _CREATE,
    "ReadFile": _TRAFFIC, "WriteFile": _TRAFFIC,
    "QueryDirectory": ("FileInformationClass", "Filter", "1"),
    "SetDispositionInformationFile": ("Delete",), "SetDispositionInformationEx": ("Flags",),
    "SetRenameInformationFile": ("ReplaceIfExists", "FileName"),
    "SetRenameInformationEx": ("Flags", "FileName"),
    "SetRenameInformationExBypassAccessCheck": ("Flags", "FileName"),
    "SetLinkInformationFile": ("ReplaceIfExists", "FileName"),
    "RegCreateKey": ("Desired Access", "Granted Access", "Disposition"),
    "Process Create": ("PID", "Command line"), "Process Start": ("Parent PID", "Command line"),
    "Thread Create": ("Thread ID",), "Thread Exit": ("Thread ID", "User Time"),
    "Process Exit": _EXIT, "Process Statistics": _EXIT,
    "TCP Send": _NETWORK, "TCP Receive": _NETWORK, "UDP Send": _NETWORK, "UDP Receive": _NETWORK,
}  # fmt: skip
_NO_DETAIL: dict[str, str] = {}


def is_procmon_csv(head: bytes) -> bool:
    """Whether a file that begins so is such a CSV file."""
    text = head.decode(_encoding(head), errors="replace").lstrip("\ufeff")
    return set(_NEEDED) <= set(_fields(text.partition("\n")[0]))


class CsvLog:
    """Such a file; its processes are told apart by what it says of their beginnings."""

    def __init__(self, source: Source) -> None:
        self.processes: dict[int, ProcessSeen] = {}
        self.system = WINDOWS
        self.machine = ""
        self._source = source
        self._current: dict[str, int] = {}  # process by PID
        self._unheard: set[int] = set()  # processes that were created, and did nothing yet
        self._count = 0
        names = next(_records(source, Tally()), [])
        self._places = {name: place for place, name in enumerate(names)}
        self._width = len(names)

    def events(self, tally: Tally) -> Iterator[Event]:
        """One event for each row."""
        self._current, self._unheard, self._count = {}, set(), 0
        records = _records(self._source, tally)
        next(records, None)
        for fields in records:
            if len(fields) != self._width or not _PID.fullmatch(self._of(fields, "PID")):
                tally.lose(UNREAD, ",".join(fields))
                continue
            operation = self._of(fields, "Operation")
            wanted = _DETAILS.get(operation)
            detail = read_detail(self._of(fields, "Detail"), wanted) if wanted else _NO_DETAIL
            number = self._process(fields, operation, detail)
            if number < 0:
                tally.lose(TOO_MANY)
                continue
            yield Event(
                process=number,
                thread=number_in(self._of(fields, "TID")),
                operation=operation,
                path=self._of(fields, "Path"),
                result=self._of(fields, "Result"),
                detail=detail,
            )

    def _of(self, fields: list[str], name: str) -> str:
        place = self._places.get(name)
        return "" if place is None else fields[place]

    def _process(self, fields: list[str], operation: str, detail: Mapping[str, str]) -> int:
        """The process of a row, or -1; it is known better after each."""
        pid, name = self._of(fields, "PID"), self._of(fields, "Process Name")[:MAX_NAME]
        number = self._current.get(pid, -1)
        known = self.processes.get(number)
        again = operation == "Process Start" and number not in self._unheard
        if known is None or again or known.name.lower() != name.lower():
            number = self._add(pid, name)
            if number < 0:
                return -1
        self._unheard.discard(number)
        process = self.processes[number]
        process.user = process.user or self._of(fields, "User")[:MAX_NAME]
        if not process.image:
            process.image = self._image(fields, operation, name)
        if process.parent < 0:
            parent = detail.get("Parent PID") or self._of(fields, "Parent PID")
            found = self._current.get(parent, -1)
            process.parent = found if found != number else -1
        if operation == "Process Create":
            self._create(number, detail.get("PID", ""), self._of(fields, "Path"))
        return number

    def _image(self, fields: list[str], operation: str, name: str) -> str:
        path = self._of(fields, "Image Path")
        if not path and operation == "Load Image":
            loaded = self._of(fields, "Path")
            path = loaded if file_name(loaded).lower() == name.lower() else ""
        return path if len(path) <= MAX_PATH else ""

    def _create(self, parent: int, pid: str, path: str) -> None:
        child = self._add(pid, file_name(path)[:MAX_NAME]) if _PID.fullmatch(pid) else -1
        if child >= 0:
            process = self.processes[child]
            process.image = process.image or (path if len(path) <= MAX_PATH else "")
            process.parent, process.started = parent, True
            self._unheard.add(child)

    def _add(self, pid: str, name: str) -> int:
        """The next process; it is the same one in each reading."""
        number = self._count
        if number >= MAX_FOLLOWED:
            return -1
        self._count += 1
        self.processes.setdefault(number, ProcessSeen(int(pid), name))
        self._current[pid] = number
        return number


def _encoding(head: bytes) -> str:
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    return "utf-16-be" if head.startswith(codecs.BOM_UTF16_BE) else "utf-8"


def _records(source: Source, tally: Tally) -> Iterator[list[str]]:
    """The fields of each row; a quoted one may hold ends of lines."""
    whole = io.StringIO()  # a list of short lines would take many times their size
    size = quotes = 0
    for line in _lines(source):
        if line is None or size + len(line) > MAX_LINE_BYTES:
            tally.lose(UNREAD, "(longer than any of its rows)")
            whole, size, quotes = io.StringIO(), 0, 0
            continue
        whole.write(line)
        size += len(line)
        quotes += line.count('"')
        if quotes % 2:
            continue
        record = whole.getvalue()
        whole, size, quotes = io.StringIO(), 0, 0
        if record.strip("\r\n"):
            yield _fields(record)
    if size:
        tally.lose(UNREAD, whole.getvalue())


def _fields(record: str) -> list[str]:
    """The fields of one row; none where it is no CSV."""
    try:
        return next(csv.reader([record.rstrip("\r\n")]), [])
    except csv.Error:
        return []


def _lines(source: Source) -> Iterator[str | None]:
    """Lines with their ends; None for one that is longer than any row."""
    encoding = _encoding(source.head())
    # Windows has names that are no valid UTF-16; they stay what they are.
    errors = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    source.file.seek(0)
    rest, skips = "", False
    for chunk in iter(partial(source.file.read, _CHUNK), b""):
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in lines:
            yield None if skips else line.removeprefix("\ufeff") + "\n"
            skips = False
        if len(rest) > MAX_LINE_BYTES:
            rest, skips = "", True
    try:
        rest += decoder.decode(b"", final=True)
    except UnicodeDecodeError:  # half a character
        skips = True
    if rest or skips:
        yield None if skips else rest
