"""Whether the static memory manager is preloaded, into which programs, and what that brings along.

By /etc/ld.so.preload and not by the environment: set-user-id programs obey it too, and a service
that clears its environment cannot lose it (ld.so(8)).
"""

from collections.abc import Iterable, Sequence

from onejob.model.plan import LeftOut, MemoryArray, MemoryManager, Mount, PlannedFile
from onejob.model.plan_policy import Right
from onejob.model.profile import Profile
from onejob.model.workload import Workload

LIBRARY = "libonejob_memory.so"
LIBRARY_PATH = f"/usr/lib/onejob/{LIBRARY}"
PRELOAD = "/etc/ld.so.preload"
FOLDER = "/etc/onejob"
"""Of its plan file, which the builder writes."""
COUNTS = "/run/onejob/memory"
COUNTS_KIB = 176
"""Of each program's file of counts (native/memory/src/counts.rs)."""
# Tables of the library itself and of its first thread, private to each process.
_LIBRARY_KIB = 160
_GRANULE = 16  # of the arrays, for each of which there is a byte
_APART_KIB = 1  # at most, between two arrays (native/memory/src/arrays.rs)
_PAGE_KIB = 4
MOST_COPIED_KIB = 4096
"""Of a forked process that settles; otherwise nothing is copied (native/init/src/own_pages.rs)."""


def plan_manager(
    profile: Profile, workload: Workload, arrays: Sequence[MemoryArray], unsafe_free: bool
) -> MemoryManager:
    """The memory manager for these `arrays`, or why there is none."""
    if why_not := _why_not(profile, workload, arrays):
        return MemoryManager(reason=why_not)
    programs = {array.program for array in arrays}
    return MemoryManager(
        kind="static",
        counts=COUNTS,
        unsafe_free=unsafe_free,
        reason=f"the profile shows the memory blocks of {len(programs)} programs, "
        f"whose arrays take {arrays_kib(arrays)} KiB",
        apart=tuple(_apart(profile)),
    )


def _why_not(profile: Profile, workload: Workload, arrays: Sequence[MemoryArray]) -> str:
    if "LD_PRELOAD" in workload.environment:
        return "the workload preloads a library of its own (LD_PRELOAD)"
    found = profile.file(PRELOAD)
    if found is not None and found.kind != "missing":
        return f"a library was preloaded when the service was profiled ({PRELOAD})"
    if not arrays:
        return "the profile shows no memory blocks: nothing can be laid out"
    return ""


def _apart(profile: Profile) -> Iterable[LeftOut]:
    """Programs whose loader preloads nothing; a script is none, what it is for a program is."""
    programs = {call.program for call in profile.calls}
    for file in profile.files:
        if file.kind != "file" or file.path not in programs:
            continue
        if not file.interpreter and not file.needed:
            yield LeftOut(path=file.path, reason="it is statically linked: nothing is preloaded")
        elif "/ld-musl-" in file.interpreter:
            yield LeftOut(path=file.path, reason=f"its loader does not know {PRELOAD} (musl)")


def manager_natives(manager: MemoryManager) -> frozenset[str]:
    """The parts of onejob that it needs in the image."""
    return frozenset({LIBRARY} if manager.kind == "static" else ())


def manager_files(manager: MemoryManager) -> tuple[PlannedFile, ...]:
    """What the root holds for it, besides its plan file."""
    if manager.kind == "none":
        return ()
    return (
        PlannedFile(
            path=PRELOAD, kind="file", origin="text", mode=0o644, text=f"{LIBRARY_PATH}\n",
            reasons=("the loader preloads the memory manager into every program",),
        ),
        PlannedFile(
            path=LIBRARY_PATH, kind="file", origin="native", native=LIBRARY, mode=0o755,
            reasons=(f"the memory manager: {manager.reason}",),
        ),
        PlannedFile(
            path=FOLDER, kind="directory", origin="none", mode=0o755,
            reasons=("the plan file of the memory manager",),
        ),
    )  # fmt: skip


def manager_mounts(manager: MemoryManager, arrays: Iterable[MemoryArray]) -> tuple[Mount, ...]:
    """Where it counts: in memory, in files that process 1 makes for the service's user alone."""
    if manager.kind == "none":
        return ()
    programs = {array.program for array in arrays}
    return (
        Mount(
            path=manager.counts, kind="tmpfs", size_kib=COUNTS_KIB * len(programs) + 16, mode=0o755,
            reason="the memory manager counts blocks from arrays, and relayed ones, there",
        ),
    )  # fmt: skip


def manager_changes(
    manager: MemoryManager, arrays: Iterable[MemoryArray]
) -> tuple[tuple[str, str, set[Right], str], ...]:
    """What it changes: program, path, rights, reason."""
    if manager.kind == "none":
        return ()
    reason = "the memory manager counts in its file there, which process 1 has made"
    programs = sorted({array.program for array in arrays})
    return tuple((program, manager.counts, {"write-file"}, reason) for program in programs)


def manager_kib(profile: Profile, arrays: Iterable[MemoryArray]) -> int:
    """The memory that it takes besides what the service held when profiled.

    A process that executed its program has all arrays for itself, and so may one that was forked
    if they are small: process 1 then copies them when it settles. Large ones forked processes share
    with their parent but for what either writes to. What they themselves write to they held when
    profiled, too, but less far apart; what the parent writes to is at most its arrays once more.
    """
    arrays = tuple(arrays)
    peaks = {peak.program: peak.processes for peak in profile.program_peaks}
    again = {start.child for start in profile.starts if start.how == "exec"}
    total = 0
    for program in {array.program for array in arrays}:
        own = [array for array in arrays if array.program == program]
        processes = max(peaks.get(program, 1), 1)
        executed = processes if program in again else 1
        total += executed * arrays_kib(own) + _forked_kib(own, processes - executed)
        total += processes * _LIBRARY_KIB + COUNTS_KIB
    return total


def _forked_kib(arrays: Sequence[MemoryArray], processes: int) -> int:
    """Of so many: in each large array, a page of blocks and one of states not used to their end."""
    whole = arrays_kib(arrays)
    if whole <= MOST_COPIED_KIB or not processes:
        return processes * whole
    return max(processes * min(whole, 2 * _PAGE_KIB * len(arrays)), whole)


def arrays_kib(arrays: Iterable[MemoryArray]) -> int:
    """Of all their blocks, the states of these, and what keeps arrays apart."""
    arrays = tuple(arrays)
    blocks = sum(array.block_size * array.blocks for array in arrays)
    return -(-(blocks + blocks // _GRANULE) // 1024) + _APART_KIB * len(arrays)
