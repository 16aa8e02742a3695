"""Observations: what a running instance does and holds, as process 1 sees it. JSON.

Process 1 looks every few seconds and writes them to the data partition; so a peak that is over
before the next look is not in them, but resident memory, of which the kernel keeps the peak.
"""

import errno
from typing import Annotated, Literal

from pydantic import Field

from onejob.model.noun import Noun
from onejob.model.profile import Count, How, Phase, Role
from onejob.model.syscalls import call_name

Text = Annotated[str, Field(max_length=4096)]
Large = Annotated[int, Field(ge=0, lt=2**64)]
Word = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]


class Denied(Noun):
    """A system call that the policy or a row refused to processes of `program`, `count` times.

    `call` is its number, `args` the six words of the first time, `pid` whose it was then. `role`
    and `phase` say which row of the matrix it was; empty where there is none.
    """

    pid: Count
    program: Text
    call: Annotated[int, Field(ge=0, lt=2**32)]
    args: Annotated[tuple[Word, ...], Field(max_length=6)]
    role: Role | Literal[""] = ""
    phase: Phase | Literal[""] = ""
    count: Count

    @property
    def call_name(self) -> str:
        """The name of the call."""
        return call_name(self.call)


class Running(Noun):
    """A process now. `start` in clock ticks since boot, `descriptors` one more than its highest.

    `page_faults` since it began: of a process that has settled, their growth is what counts.
    """

    pid: Count
    ppid: Count
    start: Count
    program: Text
    threads: Count
    descriptors: Count
    resident_kib: Count
    page_faults: Count = 0
    role: Role | Literal[""] = ""
    phase: Phase | Literal[""] = ""


class HeldAtOnce(Noun):
    """The most at once: descriptors and memory of one process, processes and threads of all."""

    processes: Count
    threads: Count
    descriptors: Count
    resident_kib: Count


class Peaks(HeldAtOnce):
    """Those of the whole service."""

    sockets: Count


class ProgramHeld(HeldAtOnce):
    """Those of one program."""

    program: Text


class Folder(Noun):
    """A writable folder: how many `entries` it has, folders apart, and the `names` of some."""

    path: Text
    names: tuple[Text, ...]
    entries: Count


class ArrayUse(Noun):
    """An array: how many blocks it has `given`, how many were `relayed` as it was empty.

    `most_taken` of one process at once; free blocks in the caches of its threads count as taken.
    """

    block_size: Large
    blocks: Large
    given: Large
    relayed: Large
    most_taken: Large


class UnexpectedSize(Noun):
    """Blocks of a requested size that no array has; they were relayed."""

    size: Large
    count: Large


class MemoryUse(Noun):
    """What the static memory manager counted for `program`, all its processes together.

    `other_sizes` are further blocks of unexpected sizes, `large` ones that came from the kernel,
    `faults` wrong frees; `uncounted` threads had no counters. Processes of the service write these
    numbers: they say what an honest service did.
    """

    program: Text
    arrays: tuple[ArrayUse, ...]
    unexpected: tuple[UnexpectedSize, ...]
    other_sizes: Large
    large: Large
    faults: Large
    uncounted: Large

    @property
    def by_size(self) -> dict[int, int]:
        """Blocks of unexpected sizes."""
        return {each.size: each.count for each in self.unexpected}

    @property
    def static(self) -> int:
        """Blocks that came from arrays."""
        return sum(array.given for array in self.arrays)

    @property
    def dynamic(self) -> int:
        """Blocks that were relayed."""
        relayed = sum(array.relayed for array in self.arrays)
        unexpected = sum(each.count for each in self.unexpected)
        return relayed + unexpected + self.other_sizes + self.large

    @property
    def static_share(self) -> float:
        """Static of all blocks, 1 where there were none."""
        return self.static / (self.static + self.dynamic) if self.dynamic else 1.0


class UnexpectedFile(Noun):
    """A path that `program` asked for in vain, `count` times, and that it did not so when profiled.

    `error` is the errno, `how` what the first call was to do with it. A path is cut at 224 bytes.
    Processes of the service write these facts: they say what an honest service did.
    """

    program: Text
    path: Annotated[str, Field(max_length=4096, pattern=r"^/")]
    how: How
    error: Annotated[int, Field(ge=0, lt=2**32)]
    count: Large

    @property
    def is_missing(self) -> bool:
        """Whether there was nothing; otherwise it was refused."""
        return self.error in (errno.ENOENT, errno.ENOTDIR)

    @property
    def error_name(self) -> str:
        """Such as ``ENOENT``."""
        return errno.errorcode.get(self.error, str(self.error))


class CoreFile(Noun):
    """The memory of a process that `signal` ended, kept as `file` in `.onejob` of the data.

    `kib` of it; not `whole` where the plan's size was reached. `threads` are in it. `time` as of
    Observations.
    """

    file: Annotated[str, Field(pattern=r"^core\.[0-9]{1,3}$")]
    program: Text
    pid: Count
    signal: Annotated[int, Field(ge=1, le=64)]
    threads: Count
    kib: Count
    whole: bool
    time: Count


class Observations(Noun):
    """Of one instance, since it was started. `time` in seconds since 1970, by its own clock.

    The service has failed and was started again `restarts` times; before, it `last_end`, in words.
    """

    format: Literal[1] = 1
    name: Text
    time: Count
    running_ms: Count
    peaks: Peaks
    restarts: Count = 0
    last_end: Text = ""
    programs: tuple[ProgramHeld, ...]
    processes: tuple[Running, ...]
    processes_unlisted: Count = 0
    denials: tuple[Denied, ...]
    denials_unlisted: Count = 0
    memory: tuple[MemoryUse, ...] = ()
    unexpected_files: tuple[UnexpectedFile, ...] = ()
    unexpected_files_unlisted: Large = 0
    cores: tuple[CoreFile, ...] = ()
    folders: tuple[Folder, ...] = ()
    folders_cut: bool = False

    @property
    def denied(self) -> int:
        """How many calls were denied."""
        return sum(denial.count for denial in self.denials) + self.denials_unlisted

    @property
    def phase(self) -> str:
        """`serve` when a process has settled, `boot` before; empty where there is no matrix."""
        return max((each.phase for each in self.processes), default="")
