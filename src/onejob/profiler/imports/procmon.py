"""Logs of Process Monitor (Sysinternals Procmon): what its CSV and PML files have in common.

A log is read twice: first for its processes, of which those of the service are chosen, then for
what these did. Operations, results and details have the words of Procmon's own CSV files.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from onejob.model.errors import InputError
from onejob.profiler.imports.processes import MAX_FOLLOWED
from onejob.profiler.imports.tally import Tally, printable

MAX_PATH = 4096  # characters; Windows itself has 260, or 32,767 where a program asks for them
MAX_NAME = 256
TOO_MANY = f"events of processes beyond {MAX_FOLLOWED}"
_SHOWN = 5
# What a process does not do itself: Procmon looks at it.
OF_PROCMON = {
    "Process Defined", "Process Profiling", "Process Statistics", "System Statistics",
    "Thread Profile", "Thread Profiling",
}  # fmt: skip
_ABSOLUTE = re.compile(r"[A-Za-z]:\\.|\\\\[^\\]+\\.")
_DIGITS = re.compile("[0-9]{1,3}(?:[,. \u00a0\u2019\u202f][0-9]{3}){1,6}|[0-9]{1,20}")


@dataclass(slots=True)
class ProcessSeen:
    """A process of a log; `image` is empty where the log does not have its path.

    `parent` is a process of the same log, -1 where it is none; `modules` are those that the log
    says were loaded, whether or not it has their loading.
    """

    pid: int
    name: str
    image: str = ""
    parent: int = -1
    user: str = ""
    started: bool = False  # in this log
    modules: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """Its path, or the name that stands for it."""
        return self.image or self.name


class Event(NamedTuple):
    """One operation; `process` is the process's number in the log, `thread` 0 where not said."""

    process: int
    thread: int
    operation: str
    path: str
    result: str
    detail: Mapping[str, str]


class Log(Protocol):
    """A file of Procmon's; `processes` are complete after `events` were read once."""

    processes: dict[int, ProcessSeen]
    system: str  # Windows, with its version where the log says it
    machine: str

    def events(self, tally: Tally) -> Iterator[Event]:
        """All events from the beginning; `tally` learns what could not be read."""


@dataclass(frozen=True, slots=True)
class Service:
    """Which processes of a log are the service's, and what the log has of all others."""

    program: str
    members: frozenset[int]
    threads_before: Mapping[int, int]  # that lived when the log began, by process
    others: int  # events of other programs


class Census:
    """Who is in a log; made by reading it once."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._events: Counter[int] = Counter()
        self._threads: set[tuple[int, int]] = set()
        self._before: Counter[int] = Counter()
        for event in log.events(Tally()):
            self._take(event)

    def _take(self, event: Event) -> None:
        if event.operation in OF_PROCMON:
            return
        self._events[event.process] += 1
        made = number_in(event.detail.get("Thread ID", ""))
        # The thread of both is one of the process that asked for it.
        if event.operation == "Process Start":
            self._log.processes[event.process].started = True
            return
        if event.operation == "Thread Create":
            self._know(event.process, made)
            return
        thread = made or event.thread
        if thread and self._know(event.process, thread):
            self._before[event.process] += 1

    def _know(self, process: int, thread: int) -> bool:
        """Whether the thread is one that was not known before."""
        key = process, thread
        if key in self._threads or len(self._threads) >= MAX_FOLLOWED:
            return False
        self._threads.add(key)
        return True

    def service(self, program: str) -> Service:
        """The processes of `program`, a path or a file name, with all that they started; where it
        is empty, those of the one program that started all others.

        InputError where there is no such program, or no such one.
        """
        if program and not _ABSOLUTE.match(program) and re.search(r"[\\/]", program):
            raise InputError(
                f"program {shown(program)} is no absolute Windows path",
                r"name it as C:\nginx\nginx.exe, or by its file name, nginx.exe",
            )
        chosen = self._of(program) if program else self._roots()
        members = self._with_children(chosen)
        first = self._log.processes[min(chosen)]
        path = first.image or (program if _ABSOLUTE.match(program) else first.name)
        return Service(
            program=path,
            members=frozenset(members),
            threads_before=self._before,
            others=sum(count for number, count in self._events.items() if number not in members),
        )

    def _of(self, program: str) -> set[int]:
        path, name = program.lower(), file_name(program).lower()
        found = {
            number
            for number, process in self._log.processes.items()
            if process.program.lower() in ({path} if process.image else {path, name})
            or (path == name and process.name.lower() == name)
        }
        if not found:
            raise InputError(
                f"the log has no process of {shown(program)}", f"it has: {self._programs()}"
            )
        return found

    def _roots(self) -> set[int]:
        active = self._events.keys()
        roots = {n for n in active if self._log.processes[n].parent not in active}
        # A circle of parents, which no real log has, has no root.
        programs = {self._log.processes[n].program.lower() for n in roots or active}
        if not active:
            raise InputError("the log has no events", "record while the service works")
        if len(programs) > 1:
            raise InputError(
                f"the log is of several programs: {self._programs()}",
                r"name the service's with: --program 'C:\folder\NAME.exe'",
            )
        return set(roots or active)

    def _with_children(self, chosen: set[int]) -> set[int]:
        children: dict[int, list[int]] = {}
        for number, process in self._log.processes.items():
            children.setdefault(process.parent, []).append(number)
        members, todo = set(chosen), list(chosen)
        while todo:
            for child in children.get(todo.pop(), ()):
                if child not in members:
                    members.add(child)
                    todo.append(child)
        return members

    def _programs(self) -> str:
        counts: Counter[str] = Counter()
        spelled: dict[str, str] = {}
        for number, count in self._events.items():
            program = self._log.processes[number].program
            counts[spelled.setdefault(program.lower(), program)] += count
        more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
        named = [f"{shown(name)} ({n} events)" for name, n in counts.most_common(_SHOWN)]
        return ", ".join(named) + more


def shown(text: str) -> str:
    """Foreign text for a message, with backslashes as Windows paths have them."""
    return printable(text).replace("\\\\", "\\")


def file_name(path: str) -> str:
    """The last part of a Windows path."""
    return path.rpartition("\\")[2]


def number_in(text: str) -> int:
    """The number that `text` begins with, grouped as any locale does it: ``1,350`` is 1350; 0
    where there is none."""
    found = _DIGITS.match(text)
    return int(re.sub("[^0-9]", "", found[0])) if found else 0


def read_detail(text: str, names: Sequence[str]) -> dict[str, str]:
    """The values of `names` in a detail column: ``Offset: 0, Length: 512``. Each ends where the
    next one of them begins, since values have commas, too."""
    places: list[tuple[int, str]] = []
    for name in names:
        mark = f"{name}: "
        place = -2 if text.startswith(mark) else text.find(f", {mark}")
        if place != -1:
            places.append((place + 2, name))
    places.sort()
    ends = [place - 2 for place, _ in [*places, (len(text) + 2, "")]][1:]
    return {
        name: text[place + len(name) + 2 : end]
        for (place, name), end in zip(places, ends, strict=True)
    }
