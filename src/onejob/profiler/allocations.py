"""What the preloaded recorder counted: blocks per requested size, by process and by program."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import add
from typing import NamedTuple


class SizeCount(NamedTuple):
    """Blocks of one requested size (bytes)."""

    size: int
    peak: int
    """Most blocks alive at once, in one process."""
    allocated: int
    freed: int
    short_lived: int = 0
    """Of `freed`: by the thread that allocated them, before it made 64 more calls."""
    freed_elsewhere: int = 0
    """Of `freed`: by another thread of the process."""
    freed_inherited: int = 0
    """Of `freed`: the child's copies of what the parent had allocated before the fork."""
    resized: int = 0
    """Of `allocated`: by realloc of an older block."""
    aligned: int = 0
    """Of `allocated`: by memalign(3) and its like."""

    @property
    def process_long(self) -> int:
        """Of `allocated`: alive when their process ended."""
        return max(self.allocated - (self.freed - self.freed_inherited), 0)

    def plus(self, other: "SizeCount") -> "SizeCount":
        """With those of another process: sums, and the larger peak."""
        return SizeCount(self.size, max(self.peak, other.peak), *map(add, self[2:], other[2:]))


@dataclass(frozen=True)
class ProcessAllocations:
    """Allocations of one process image: a process from fork or exec to exec or end."""

    program: str
    """Path of the executable, as the process saw it."""
    pid: int
    """In the process's own pid namespace."""
    sizes: Mapping[int, SizeCount]
    overflow: int
    """Allocations that are not in `sizes`: the recorder had no room for them."""
    untagged: int
    """Blocks freed here that did not come through the recorder."""
    unrecorded: int = 0
    """Children that could have no recording of their own."""


@dataclass(frozen=True)
class ProgramAllocations:
    """Allocations of all processes of one program."""

    program: str
    """Empty for process images of which only that is known that they are `unrecorded`."""
    processes: int
    sizes: Mapping[int, SizeCount]
    """Peak: the largest of any process. Totals: sums, each block counted once."""
    overflow: int
    untagged: int
    unrecorded: int


class Merger:
    """Adds processes up by program: the memory manager is sized per process, from peaks."""

    def __init__(self) -> None:
        self._sizes: dict[str, dict[int, SizeCount]] = {}
        self._sums: dict[str, list[int]] = {}

    def add(self, process: ProcessAllocations) -> None:
        """One more process."""
        sizes = self._sizes.setdefault(process.program, {})
        for size, count in process.sizes.items():
            sizes[size] = sizes[size].plus(count) if size in sizes else count
        self.add_sums(process.program, 1, process.overflow, process.untagged, process.unrecorded)

    def add_sums(self, program: str, *counts: int) -> None:
        """Processes, overflow, untagged, unrecorded."""
        sums = self._sums.get(program, [0] * len(counts))
        self._sums[program] = list(map(add, sums, counts))

    def merged(self) -> tuple[ProgramAllocations, ...]:
        """One entry per program, by path."""
        return tuple(
            ProgramAllocations(
                program, processes, dict(sorted(self._sizes.get(program, {}).items())), *losses
            )
            for program, (processes, *losses) in sorted(self._sums.items())
        )


def merge_allocations(processes: Iterable[ProcessAllocations]) -> tuple[ProgramAllocations, ...]:
    """One entry per program, by path."""
    merger = Merger()
    for process in processes:
        merger.add(process)
    return merger.merged()
