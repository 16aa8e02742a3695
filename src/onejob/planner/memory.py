"""The arrays of the static memory manager: which block sizes, how many blocks, and what is wasted.

An array serves requests of `smallest` bytes up to its block size, in steps of a granule. What a
request leaves of its block is wasted, and so is what an array costs by itself. The block sizes are
those that waste least, at the peaks of the profile.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from onejob.model.errors import InputError
from onejob.model.plan import MemoryArray
from onejob.model.profile import Profile, ProgramAllocation, ProgramPeak

# The library's own limits (native/memory/src/plan.rs).
GRANULE = 16
LARGEST_BLOCK = 256 * 1024  # larger ones come from the kernel, each in a mapping of its own
MOST_ARRAYS = 63
MOST_BYTES = 32 << 30
MOST_BLOCKS = 1 << 26
CACHE_BYTES = 512  # of each array, in every thread (native/memory/src/cache.rs)
HEAD_ROOM_PERCENT = 25
# Spare blocks wait in the caches of threads (native/memory/src/cache.rs): few, and no large ones.
RESERVE_BLOCKS = 8
RESERVE_BYTES = 4096
# Where threads allocate often, each has more: those whose states lie in a cache line of their own
# (native/memory/src/arrays.rs), for as many threads as may run at once.
OWN_BYTES = 2048
MOST_THREADS = 8
OFTEN_PERCENT = 1


class Need(NamedTuple):
    """`peak` blocks alive at once of requests that round up to `size`; `requested` bytes in all."""

    size: int
    peak: int
    requested: int


def with_head_room(memory: int) -> int:
    """As much memory, or as many blocks, as a life may need of which drills showed `memory`."""
    return memory + -(-memory * HEAD_ROOM_PERCENT // 100)


def plan_memory(profile: Profile) -> tuple[MemoryArray, ...]:
    """The arrays of each program, by program and size.

    InputError where a program's blocks are more than the memory manager can lay out.
    """
    programs: defaultdict[str, list[ProgramAllocation]] = defaultdict(list)
    for row in profile.allocations:
        programs[row.program].append(row)
    threads = {peak.program: _threads_of_one(peak) for peak in profile.program_peaks}
    return tuple(
        array
        for program in sorted(programs)
        for array in plan_arrays(program, programs[program], threads.get(program, 1))
    )


def _threads_of_one(peak: ProgramPeak) -> int:
    """The profile has those of all processes of the program together."""
    return max(-(-peak.threads // max(peak.processes, 1)), 1)


def plan_arrays(
    program: str, rows: Iterable[ProgramAllocation], threads: int = 1
) -> list[MemoryArray]:
    """The arrays of one program, by size, for the `rows` of its blocks."""
    rows = tuple(rows)
    kept = [row for row in rows if row.peak and row.block_size <= LARGEST_BLOCK]
    needs = gather_needs((row.block_size, row.peak) for row in kept)
    arrays = []
    for group in choose_arrays(needs):
        users = threads if _is_often_used(group, rows) else 1
        arrays.append(_array(program, group, spare_blocks(group[-1].size, users)))
    total = sum(array.block_size * array.blocks for array in arrays)
    if total > MOST_BYTES or any(array.blocks > MOST_BLOCKS for array in arrays):
        raise InputError(
            f"the memory of {program} in the profile is {total >> 20} MiB in small blocks",
            "the static memory manager lays out 32 GiB at most: profile with a smaller load",
        )
    return arrays


def _is_often_used(group: Sequence[Need], rows: Sequence[ProgramAllocation]) -> bool:
    smallest, largest = group[0].size - GRANULE, group[-1].size
    used = sum(row.allocated for row in rows if smallest < max(row.block_size, 1) <= largest)
    return used * 100 >= sum(row.allocated for row in rows) * OFTEN_PERCENT


def _array(program: str, group: Sequence[Need], spare: int) -> MemoryArray:
    size, peak = group[-1].size, sum(need.peak for need in group)
    smallest = group[0].size - GRANULE + 1
    return MemoryArray(
        program=program,
        block_size=size,
        smallest=smallest,
        blocks=with_head_room(peak) + spare,
        spare=spare,
        reason=f"{peak} alive at once in the profile, plus {HEAD_ROOM_PERCENT} % and {spare} for "
        f"caches; {wasted_bytes(group)} of their {peak * size} bytes are wasted",
    )


def gather_needs(peaks: Iterable[tuple[int, int]]) -> list[Need]:
    """Needs by ascending size, of (requested bytes, blocks alive at once)."""
    found: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for requested, peak in peaks:
        size = max(-(-requested // GRANULE) * GRANULE, GRANULE)
        blocks, total = found[size]
        found[size] = blocks + peak, total + peak * requested
    return [Need(size, *found[size]) for size in sorted(found)]


def wasted_bytes(group: Sequence[Need]) -> int:
    """What requests leave of their blocks if one array serves them all."""
    return sum(need.peak * group[-1].size - need.requested for need in group)


def reserved_blocks(size: int) -> int:
    """How many blocks of this size an array has for caches."""
    return min(RESERVE_BLOCKS, RESERVE_BYTES // size)


def spare_blocks(size: int, threads: int) -> int:
    """How many it has if so many `threads` of a process often use it."""
    own = -(-OWN_BYTES // size) if threads > 1 else 0
    return max(reserved_blocks(size), min(threads, MOST_THREADS) * own)


def array_bytes(size: int) -> int:
    """What one more array of this block size costs by itself."""
    return CACHE_BYTES + reserved_blocks(size) * size


def cost_bytes(groups: Sequence[Sequence[Need]]) -> int:
    """What is wasted in all: in the blocks, and by arrays as such."""
    return sum(wasted_bytes(group) + array_bytes(group[-1].size) for group in groups)


def choose_arrays(needs: Sequence[Need], most: int = MOST_ARRAYS) -> list[Sequence[Need]]:
    """`needs`, by ascending size, in at most `most` groups whose `cost_bytes` is the least.

    Dynamic programming over the number of arrays: the least that the first needs cost with one
    array more is the least, over where that array begins, of what they cost before it and in it.
    """
    if not needs:
        return []
    least = [0] + [1 << 80] * len(needs)
    starts: list[list[int]] = []
    for _ in range(min(most, len(needs))):
        more, begins = _with_one_more(needs, least)
        # What a further array saves gets less with each: when it saves nothing, none will.
        if starts and more[-1] >= least[-1]:
            break
        least = more
        starts.append(begins)
    return _groups(needs, starts)


def _groups(needs: Sequence[Need], starts: list[list[int]]) -> list[Sequence[Need]]:
    groups: list[Sequence[Need]] = []
    end = len(needs)
    for begins in reversed(starts):
        groups.append(needs[begins[end] : end])
        end = begins[end]
    return groups[::-1]


def _with_one_more(needs: Sequence[Need], least: list[int]) -> tuple[list[int], list[int]]:
    """What the first 0, 1, ... needs cost with one array more than in `least`; where it begins.

    An array from need i up to need j costs size[j] * (peaks[j] - peaks[i]) - (bytes[j] - bytes[i])
    and what an array of that size costs. So each i is a line over the size, and the least of them
    for sizes that only grow is found by walking along their lower hull: linear time.
    """
    peaks = list(accumulate((need.peak for need in needs), initial=0))
    requested = list(accumulate((need.requested for need in needs), initial=0))
    hull: deque[_Line] = deque()
    more, begins = [1 << 80], [0]
    for end, need in enumerate(needs, 1):
        start = end - 1
        _add_line(hull, _Line(-peaks[start], least[start] + requested[start], start))
        while len(hull) > 1 and hull[1].at(need.size) <= hull[0].at(need.size):
            hull.popleft()
        best = hull[0]
        more.append(
            best.at(need.size) + need.size * peaks[end] - requested[end] + array_bytes(need.size)
        )
        begins.append(best.start)
    return more, begins


class _Line(NamedTuple):
    slope: int
    height: int
    start: int

    def at(self, size: int) -> int:
        return self.slope * size + self.height


def _add_line(hull: deque[_Line], line: _Line) -> None:
    """`line` has the least slope so far; lines that are nowhere the lowest go."""
    while len(hull) > 1 and _is_above(hull[-1], hull[-2], line):
        hull.pop()
    hull.append(line)


def _is_above(middle: _Line, left: _Line, right: _Line) -> bool:
    """Whether `middle` is not below the crossing of its neighbours."""
    return (right.height - left.height) * (left.slope - middle.slope) <= (
        middle.height - left.height
    ) * (left.slope - right.slope)
