"""What a log implies of its processes: folders, open descriptors, ids, who lives at once."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from onejob.profiler.imports.tally import UNKNOWN_PROGRAM, Tally

MAX_FOLLOWED = 200_000  # processes, and descriptors of all of them together
Kind = Literal["file", "socket", "pipe", "other"]


@dataclass(slots=True, eq=False)
class Handle:
    """What a descriptor stands for: a path, or a socket with its address once it is bound."""

    kind: Kind
    path: str = ""
    family: int = 0
    type: int = 0
    address: str = ""
    port: int = 0
    uses: int = 0


@dataclass(slots=True)
class Files:
    """A table of descriptors; threads share one."""

    open: dict[int, Handle] = field(default_factory=dict)
    closed_by_exec: set[int] = field(default_factory=set)
    users: int = 1


@dataclass(slots=True)
class Place:
    """The working folder, which threads share; empty where it is not known."""

    folder: str = ""


@dataclass(slots=True)
class Group:
    """A process with its threads; ids as far as they are known."""

    program: str = UNKNOWN_PROGRAM
    uid: int | None = None
    gid: int | None = None
    threads: int = 0


@dataclass(slots=True)
class Thread:
    """One thread, the first of a process or a further one."""

    group: Group
    files: Files
    place: Place


class Processes:
    """All threads that live, by their numbers; peaks go to a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._threads: dict[int, Thread] = {}
        self._groups = 0
        self._live: Counter[Kind] = Counter()
        self._descriptors = 0

    def __contains__(self, number: int) -> bool:
        return number in self._threads

    def numbers(self) -> list[int]:
        """The numbers of those who live."""
        return list(self._threads)

    def of(self, number: int) -> Thread:
        """The thread of that number; one that nobody was seen to start is a process of its own."""
        thread = self._threads.get(number)
        return thread or self._add(number, Thread(Group(), Files(), Place()))

    def start(self, number: int, parent: Thread, flags: frozenset[str]) -> Thread:
        """A thread or process that `parent` made with these CLONE_ flags."""
        group = parent.group
        if "CLONE_THREAD" not in flags:
            group = Group(parent.group.program, parent.group.uid, parent.group.gid)
        place = parent.place
        if "CLONE_FS" not in flags:
            place = Place(parent.place.folder)
        files = parent.files
        if "CLONE_FILES" in flags:
            files.users += 1
        else:
            files = self._copy(parent.files)
        return self._add(number, Thread(group, files, place))

    def rename(self, old: int, new: int) -> None:
        """The thread `old` is known as `new` from now on."""
        self._threads[new] = self._threads.pop(old)

    def end(self, number: int) -> None:
        """The thread is gone, and what only it held open."""
        thread = self._threads.pop(number, None)
        if thread is None:
            return
        thread.group.threads -= 1
        self._groups -= not thread.group.threads
        thread.files.users -= 1
        if not thread.files.users:
            self.close(thread.files, list(thread.files.open))

    def same_group(self, number: int) -> list[int]:
        """All threads of the process."""
        group = self.of(number).group
        return [n for n, thread in self._threads.items() if thread.group is group]

    def _add(self, number: int, thread: Thread) -> Thread:
        if len(self._threads) >= MAX_FOLLOWED:
            self._tally.miss("processes too many to follow at once")
            self.end(next(iter(self._threads)))
        self._threads[number] = thread
        self._groups += not thread.group.threads
        thread.group.threads += 1
        self._tally.raise_peak("threads", len(self._threads))
        self._tally.raise_peak("processes", self._groups)
        return thread

    def open(self, files: Files, number: int, handle: Handle, *, by_exec: bool = False) -> None:
        """Descriptor `number` stands for `handle`; `by_exec` it is closed when a program starts."""
        self.close(files, [number])
        self._tally.raise_peak("descriptors", number + 1)
        if self._descriptors >= MAX_FOLLOWED:
            self._tally.miss("descriptors too many to follow at once")
            return
        self._descriptors += 1
        self._live[handle.kind] += not handle.uses
        handle.uses += 1
        files.open[number] = handle
        (files.closed_by_exec.add if by_exec else files.closed_by_exec.discard)(number)
        if handle.kind in ("socket", "pipe"):
            self._tally.raise_peak(f"{handle.kind}s", self._live[handle.kind])

    def close(self, files: Files, numbers: list[int]) -> None:
        """These descriptors, as far as they are open, stand for nothing any more."""
        for number in numbers:
            handle = files.open.pop(number, None)
            if handle is not None:
                self._descriptors -= 1
                handle.uses -= 1
                self._live[handle.kind] -= not handle.uses

    def _copy(self, files: Files) -> Files:
        copy = Files(closed_by_exec=set(files.closed_by_exec))
        for number, handle in files.open.items():
            self.open(copy, number, handle, by_exec=number in files.closed_by_exec)
        return copy
