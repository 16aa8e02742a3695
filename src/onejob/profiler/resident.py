"""How much memory a service holds, looked at again and again while it runs."""

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from onejob.drive.target import Process

_PERIOD_S = 0.25
# What the kernel has for a process besides its page tables: stack, task, descriptors (estimated).
_TASK_KIB = 64
_FIELD = re.compile(r"^(VmHWM|VmPTE|Rss\w+|Pss_Anon):\s+(\d+) kB$", re.M)


@contextmanager
def repeated(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every quarter of a second, in a thread, as long as the context lasts.

    Between drills alone, what lives for one of them would be missed.
    """
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(_PERIOD_S):
            look()

    thread = threading.Thread(target=repeat, name="onejob-memory")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Held(NamedTuple):
    """What processes hold at one moment, in KiB: in all, and by program how many have how much."""

    total: int
    counts: Mapping[str, int]
    own: Mapping[str, int]


class Most:
    """The most that was held at a moment that was looked at."""

    def __init__(self) -> None:
        self.kib = 0
        self._at = Held(0, {}, {})
        self._of_one: dict[str, int] = {}

    def note(self, held: Held) -> None:
        """One more moment."""
        if held.total >= self.kib:
            self.kib, self._at = held.total, held
        for program, count in held.counts.items():
            share = held.own[program] // count
            self._of_one[program] = max(share, self._of_one.get(program, 0))

    def with_unseen(self, processes: Mapping[str, int]) -> int:
        """The most in KiB, with what `processes` of each program, the most that there ever were at
        once, have more than those that were looked at: a crowd may come and go between two looks.
        """
        missed = {name: most - self._at.counts.get(name, 0) for name, most in processes.items()}
        return self.kib + sum(
            max(number, 0) * self._of_one.get(name, 0) for name, number in missed.items()
        )


def resident_kib(processes: Iterable[Process]) -> int:
    """The memory of all `processes` in KiB, see `held_by`."""
    return held_by(processes).total


def held_by(processes: Iterable[Process]) -> Held:
    """The memory of all `processes`: each one's part, and what a program's share, once.

    A process's part is its anonymous memory, of which what a fork left shared is divided among all
    that have it (Pss_Anon of ``/proc/PID/smaps_rollup``), as much as it once held more than now
    (VmHWM of ``/proc/PID/status``), and what the kernel has for it: its page tables and more. Pages
    of files and of shared memory count as a program's. See proc(5) and
    Documentation/filesystems/proc.rst.
    """
    own: defaultdict[str, int] = defaultdict(int)
    counts: Counter[str] = Counter()
    shared: defaultdict[str, int] = defaultdict(int)
    for process in processes:
        fields = _memory_fields(process.pid)
        common = fields.get("RssFile", 0) + fields.get("RssShmem", 0)
        anonymous = fields.get("RssAnon", 0)
        once_more = max(fields.get("VmHWM", 0) - common - anonymous, 0)
        kernel = fields.get("VmPTE", 0) + (_TASK_KIB if fields else 0)
        own[process.program] += fields.get("Pss_Anon", anonymous) + once_more + kernel
        counts[process.program] += bool(fields)
        shared[process.program] = max(shared[process.program], common)
    living = {program: count for program, count in counts.items() if count}
    return Held(sum(own.values()) + sum(shared.values()), living, own)


def _memory_fields(pid: int) -> dict[str, int]:
    """In KiB. Without Pss_Anon on a kernel without CONFIG_PROC_PAGE_MONITOR."""
    text = ""
    for name in ("status", "smaps_rollup"):
        with suppress(OSError):
            text += Path(f"/proc/{pid}/{name}").read_text()
    return {name: int(size) for name, size in _FIELD.findall(text)}
