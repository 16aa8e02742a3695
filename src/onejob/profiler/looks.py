"""Looks at the processes of a service: what only /proc knows of their memory and scheduling.

Taken at the ends of drills. So a process that lives shortly between two looks is not among them;
of its memory the profile knows the calls (brk, mmap) and blocks, which others count.
"""

import os
import re
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from onejob.drive.target import Process
from onejob.model.linux_names import POLICIES
from onejob.model.processor_list import as_list
from onejob.model.profile import Profile, ProgramPeak, Scheduling
from onejob.model.profile_merge import by_key
from onejob.profiler.resident import Most, held_by

_RESET_ON_FORK = 0x40000000  # sched_setscheduler(2): a flag of the policy
_NICE = 16  # of /proc/PID/stat, counted from the state (proc(5), field 19)
# A row of /proc/PID/maps: from, to, permissions, offset, device, inode, and a name if it has one.
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ (\d+) *(.*)")
# Memory of no file, though the kernel keeps it as one: shared mmap, memfd_create, shmget.
_NO_FILE = ("/dev/zero (deleted)", "/memfd:", "/SYSV")
_HUGE = ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb")


class Looked(NamedTuple):
    """What looks have seen; it can be handed to another process."""

    peaks: tuple[ProgramPeak, ...]
    scheduling: tuple[Scheduling, ...]
    most: Most

    def added_to(self, profile: Profile) -> Profile:
        """`profile` with what was seen here."""
        peaks = tuple(_merged([*profile.program_peaks, *self.peaks]))
        counts = {peak.program: peak.processes for peak in profile.program_peaks}
        found = {"program_peaks": peaks, "scheduling": self.scheduling}
        resident = self.most.with_unseen(counts)
        return profile.model_copy(update={**found, "resident_kib": resident})


class Looks:
    """The most that was seen of each program, and every way in which its threads were scheduled.

    `kept_to` is the one processor that the observer keeps the service to, where it does.
    """

    def __init__(self, kept_to: int | None = None) -> None:
        self._most = Most()
        self._noting = threading.Lock()
        self._peaks: list[ProgramPeak] = []
        self._scheduling: set[Scheduling] = set()
        self._inherited = os.sched_getaffinity(0) if kept_to is None else {kept_to}

    def look(self, processes: Iterable[Process]) -> None:
        """Look at `processes` now; one that ends meanwhile is left out."""
        processes = tuple(processes)
        for process in processes:
            with suppress(OSError):
                self._peaks = _merged([*self._peaks, memory_of(process)])
                self._scheduling |= set(self._scheduling_of(process))
        self.note_resident(processes)

    def note_resident(self, processes: Iterable[Process]) -> None:
        """Keep what they hold together, if that is the most so far; for any thread."""
        held = held_by(processes)
        with self._noting:
            self._most.note(held)

    @property
    def resident_kib(self) -> int:
        """The most that they held together when they were looked at."""
        return self._most.kib

    def looked(self) -> "Looked":
        """What was seen until now."""
        rows = sorted(self._scheduling, key=lambda row: tuple(vars(row).values()))
        return Looked(tuple(self._peaks), tuple(rows), self._most)

    def _scheduling_of(self, process: Process) -> Iterable[Scheduling]:
        """How the threads of `process` are scheduled (sched(7))."""
        for name in os.listdir(f"/proc/{process.pid}/task"):
            thread = int(name)
            with suppress(OSError):
                allowed = os.sched_getaffinity(thread)
                policy = os.sched_getscheduler(thread) & ~_RESET_ON_FORK
                yield Scheduling(
                    program=process.program,
                    policy=POLICIES[policy] if policy < len(POLICIES) else str(policy),
                    priority=os.sched_getparam(thread).sched_priority,
                    nice=_nice_of(process.pid, thread),
                    processors="" if allowed == self._inherited else as_list(allowed),
                )


def _merged(peaks: Iterable[ProgramPeak]) -> list[ProgramPeak]:
    merged = by_key([list(peaks)])
    return [merged[key] for key in sorted(merged)]


def _nice_of(pid: int, thread: int) -> int:
    text = Path(f"/proc/{pid}/task/{thread}/stat").read_text()
    return int(text.rpartition(")")[2].split()[_NICE])


def memory_of(process: Process) -> ProgramPeak:
    """The memory of one process: its peak resident set, and what it has mapped now."""
    folder = Path(f"/proc/{process.pid}")
    status = _fields((folder / "status").read_text())
    rollup = {}
    with suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_PAGE_MONITOR
        rollup = _fields((folder / "smaps_rollup").read_text())
    heap, anonymous, files = _mapped((folder / "maps").read_text(errors="replace"))
    return ProgramPeak(
        program=process.program,
        resident_kib=status.get("VmHWM", 0),
        heap_kib=heap,
        anonymous_kib=anonymous,
        mapped_file_kib=files,
        huge_page_kib=sum(rollup.get(name, 0) for name in _HUGE),
    )


def _fields(text: str) -> dict[str, int]:
    """The rows ``Name: NUMBER kB`` of a file of /proc."""
    return {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.M)}


def _mapped(text: str) -> tuple[int, int, int]:
    """KiB of heap (brk), of other anonymous memory, and of files in a /proc/PID/maps.

    Address space without any access is only kept free, and not counted.
    """
    heap = anonymous = files = 0
    for start, end, rights, inode, name in _MAPPING.findall(text):
        size = (int(end, 16) - int(start, 16)) // 1024
        if name == "[heap]":
            heap += size
        elif rights.startswith("---") or (name.startswith("[") and not name.startswith("[anon")):
            continue
        elif inode == "0" or name.startswith(_NO_FILE):
            anonymous += size
        else:
            files += size
    return heap, anonymous, files
