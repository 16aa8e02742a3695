"""What a running instance showed, as a profile of its own, to be merged with the one it came from.

It has the calls that were denied, the peaks, the blocks that no array had, and the paths that were
asked for in vain. A denied call, or an unexpected path, is one that something in the instance asked
for: the service on a way that no drill took, or an attacker.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set

from onejob.model.errors import InputError
from onejob.model.observations import Denied, MemoryUse, Observations
from onejob.model.profile import (
    Argument,
    CallUse,
    DrillRun,
    FileUse,
    How,
    MemoryAllocation,
    Profile,
    ProgramAllocation,
    ProgramPeak,
    Provenance,
    RoleCall,
    SystemCall,
    Use,
)
from onejob.model.profile_rules import MAX_COUNT
from onejob.model.unexpected import PRODUCTION, Unexpected, unexpected_of

_EPERM = 1
# Calls that policies may look into, and at which arguments, as the probe notes them
# (native/probe/src/calls.rs).
ARGUMENT_FACTS: dict[str, tuple[int, ...]] = {
    "clone": (0,), "ioctl": (1,), "kill": (1,), "memfd_create": (1,), "mmap": (2, 3),
    "mprotect": (2,), "personality": (0,), "pkey_mprotect": (2,), "prctl": (0,),
    "rt_sigqueueinfo": (1,), "setns": (1,), "socket": (0, 1, 2), "socketpair": (0, 1, 2),
    "tgkill": (2,), "tkill": (1,), "unshare": (0,),
}  # fmt: skip
# An array that was used up gets room for what was relayed, at most as much again as it had.
_MOST_GROWTH = 2
_MOST_OF_A_SIZE = 64


def profile_observed(
    found: Observations, known: Profile, without: Set[str] = frozenset()
) -> Profile:
    """A profile with what `found` has and `known`, the instance's profile, lacks.

    The calls and paths `without` stay out of it. InputError where the observations are of another
    service.
    """
    if found.name != known.name:
        raise InputError(f"observations of {found.name!r}, and a profile of {known.name!r}")
    denials = [each for each in found.denials if each.call_name not in without]
    memory = [row for use in found.memory for row in allocations_of(use)]
    by_size: dict[int, int] = {}
    for row in memory:
        by_size[row.block_size] = max(by_size.get(row.block_size, 0), row.peak)
    return Profile(
        name=known.name,
        program=known.program,
        workload=known.workload,
        provenance=_provenance(known),
        drills=(DrillRun(name=PRODUCTION, phase="serve", new_calls=len(denials)),),
        system_calls=tuple(
            SystemCall(call_name=name) for name in sorted({each.call_name for each in denials})
        ),
        calls=tuple(map(_call, denials)),
        role_calls=tuple(_role_call(each) for each in denials if each.role),
        arguments=tuple(_argument(each) for each in denials if each.call_name in ARGUMENT_FACTS),
        number_of_processes=found.peaks.processes,
        number_of_threads=found.peaks.threads,
        number_of_descriptors=found.peaks.descriptors,
        number_of_sockets=found.peaks.sockets,
        program_peaks=tuple(
            ProgramPeak(
                program=held.program, processes=held.processes, threads=held.threads,
                descriptors=held.descriptors, resident_kib=held.resident_kib,
            )
            for held in found.programs
        ),
        files=_files(
            each
            for each in unexpected_of(known, found)
            if each.matters and not {each.path, each.seen.path} & without
        ),
        allocations=tuple(memory),
        memory_allocations=tuple(
            MemoryAllocation(block_size=size, number_of_blocks=by_size[size])
            for size in sorted(by_size)
        ),
    )  # fmt: skip


def _files(news: Iterable[Unexpected]) -> tuple[FileUse, ...]:
    """Missing paths as missing, refused ones as the use that was wanted of what the profile has.

    What was there when profiled, and is missing in the instance, is no news to a profile.
    """
    uses: defaultdict[str, list[Use]] = defaultdict(list)
    known: dict[str, FileUse] = {}
    for each in news:
        seen = each.seen
        if seen.is_missing and each.file is not None and each.file.kind != "missing":
            continue
        how: How = "missing" if seen.is_missing else seen.how
        count = min(seen.count, MAX_COUNT)
        uses[each.path].append(Use(program=seen.program, drill=PRODUCTION, how=how, count=count))
        known[each.path] = each.file or FileUse(path=each.path, kind="missing", existed=False)
    return tuple(
        known[path].model_copy(update={"uses": tuple(uses[path])}) for path in sorted(uses)
    )


def _provenance(known: Profile) -> Provenance | None:
    """As the profile's: an instance runs the same binaries. What is merged has its own source."""
    if known.provenance is None:
        return None
    return known.provenance.model_copy(update={"sources": ()})


def argument_values(denial: Denied) -> tuple[int, ...]:
    """What of the first one's arguments policies may look at, as the probe notes it."""
    words = [int(word) & 0xFFFFFFFF for word in denial.args]
    return tuple(words[place] for place in ARGUMENT_FACTS.get(denial.call_name, ()))


def _count(denial: Denied) -> int:
    return min(denial.count, MAX_COUNT)


def _call(denial: Denied) -> CallUse:
    return CallUse(
        program=denial.program, call_name=denial.call_name, phase=denial.phase or "serve",
        drill=PRODUCTION, count=_count(denial), failed=_count(denial), errors=(_EPERM,),
    )  # fmt: skip


def _role_call(denial: Denied) -> RoleCall:
    return RoleCall(
        program=denial.program, role=denial.role or "main", settled=denial.phase == "serve",
        call_name=denial.call_name, drill=PRODUCTION, count=_count(denial),
    )  # fmt: skip


def _argument(denial: Denied) -> Argument:
    return Argument(
        program=denial.program, call_name=denial.call_name, drill=PRODUCTION, count=_count(denial),
        values=argument_values(denial),
        failed=_count(denial),
    )  # fmt: skip


def allocations_of(use: MemoryUse) -> Iterator[ProgramAllocation]:
    """How many relayed blocks were alive at once is not known: as if all were, within limits."""
    for array in use.arrays:
        if array.relayed:
            peak = min(array.most_taken + array.relayed, _MOST_GROWTH * array.blocks, MAX_COUNT)
            yield _allocation(use.program, array.block_size, peak, array.relayed)
    for each in use.unexpected:
        yield _allocation(use.program, each.size, min(each.count, _MOST_OF_A_SIZE), each.count)


def _allocation(program: str, size: int, peak: int, count: int) -> ProgramAllocation:
    return ProgramAllocation(
        program=program, block_size=min(size, MAX_COUNT), peak=peak,
        allocated=min(count, MAX_COUNT), freed=0,
    )  # fmt: skip
