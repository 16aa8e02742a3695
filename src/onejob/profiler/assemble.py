"""Recording + allocations -> Profile: numbers become names, and each path is described."""

import os
import platform
from collections import Counter
from collections.abc import Iterable

from onejob import __version__
from onejob.model.profile import (
    Argument,
    CallUse,
    MemoryAllocation,
    Profile,
    ProgramAllocation,
    Provenance,
    SystemCall,
)
from onejob.model.syscalls import call_name
from onejob.profiler.accounts import described_accounts, names_in_texts
from onejob.profiler.allocations import ProgramAllocations
from onejob.profiler.describe import describe_recording
from onejob.profiler.facts import Facts
from onejob.profiler.novelty import drill_runs, phase_of
from onejob.profiler.packages import closure_of
from onejob.profiler.recording import UNKNOWN_ERROR, HostSeen, Recording
from onejob.profiler.rounds import fold_rounds
from onejob.profiler.static.complete import complete
from onejob.profiler.subject import Subject
from onejob.profiler.unrecorded import unrecorded_memory

_USER_CALLS = {"setuid", "setreuid", "setresuid", "setfsuid"}
_GROUP_CALLS = {"setgid", "setregid", "setresgid", "setfsgid"}
_NO_ID = 2**32 - 1  # -1: leave as it is (setresuid(2))


def assemble(
    subject: Subject, recording: Recording, allocations: Iterable[ProgramAllocations]
) -> Profile:
    """The profile of one recording of `subject`; `allocations` are empty where nobody counted."""
    rows = tuple(allocations)
    drills = drill_runs(recording)
    recording = fold_rounds(recording)
    facts = Facts(recording)
    calls = _calls(recording, facts)
    arguments = _arguments(recording, facts)
    observed = describe_recording(recording, subject.include)
    static = complete(observed, subject.environment, subject.program)
    files = static.files
    users, groups = _identities(arguments)
    users |= {file.uid for file in files if file.existed} | subject.users
    groups |= {file.gid for file in files if file.existed} | subject.groups
    accounts, group_rows = described_accounts(users, groups, names_in_texts(files))
    return Profile(
        memory_allocations=_paper_allocations(rows),
        number_of_processes=recording.peaks.processes,
        number_of_sockets=recording.peaks.sockets,
        system_calls=tuple(SystemCall(call_name=n) for n in sorted({c.call_name for c in calls})),
        number_of_threads=recording.peaks.threads,
        number_of_descriptors=recording.peaks.descriptors,
        number_of_pipes=recording.peaks.pipes,
        events_lost=_lost(recording, rows),
        name=subject.name,
        program=subject.program,
        workload=subject.workload,
        provenance=_provenance(subject, recording),
        drills=drills,
        calls=calls,
        arguments=arguments,
        files=files,
        allocations=_allocations(rows),
        accounts=accounts,
        groups=group_rows,
        packages=closure_of(os.path.realpath(subject.program), subject.packages),
        relationships=facts.relationships(),
        role_calls=facts.role_calls(),
        traffic=facts.traffic(),
        listeners=facts.listeners(),
        capabilities=facts.capabilities(),
        identities=facts.identities(),
        starts=facts.starts(),
        program_peaks=facts.program_peaks(),
        kernel_interfaces=facts.kernel_interfaces(files),
        reachable_calls=static.reachable_calls,
        unfollowed=static.unfollowed,
        unrecorded_memory=unrecorded_memory(
            {use.program for use in calls},
            {row.program for row in rows},
            files,
            subject.unrecorded,
        ),
    )


def _lost(recording: Recording, rows: Iterable[ProgramAllocations]) -> int:
    """Events that neither observer could keep."""
    return sum(recording.lost.values()) + sum(row.overflow + row.unrecorded for row in rows)


def _calls(recording: Recording, facts: Facts) -> tuple[CallUse, ...]:
    uses = [
        CallUse(
            program=facts.program(seen),
            drill=facts.drill(seen),
            call_name=call_name(seen.nr),
            phase=phase_of(recording.drills[seen.drill]),
            count=seen.count,
            failed=sum(seen.errors.values()),
            errors=tuple(sorted(int(number) for number in seen.errors if number != UNKNOWN_ERROR)),
        )
        for seen in recording.calls
    ]
    return tuple(sorted(uses, key=lambda use: (use.program, use.call_name, use.phase, use.drill)))


def _arguments(recording: Recording, facts: Facts) -> tuple[Argument, ...]:
    rows = [
        Argument(
            program=facts.program(seen),
            drill=facts.drill(seen),
            call_name=call_name(seen.nr),
            values=tuple(value - 2**64 if value >= 2**63 else value for value in seen.args),
            count=seen.count,
            failed=seen.failed,
        )
        for seen in recording.facts
    ]
    return tuple(sorted(rows, key=lambda row: (row.program, row.call_name, row.drill, row.values)))


def _identities(arguments: Iterable[Argument]) -> tuple[set[int], set[int]]:
    """The user and group ids that the service became."""
    users: set[int] = set()
    groups: set[int] = set()
    for argument in arguments:
        ids = {value for value in argument.values if value != _NO_ID}
        if argument.call_name in _USER_CALLS and argument.count > argument.failed:
            users |= ids
        elif argument.call_name in _GROUP_CALLS and argument.count > argument.failed:
            groups |= ids
    return users, groups


def _allocations(rows: Iterable[ProgramAllocations]) -> tuple[ProgramAllocation, ...]:
    return tuple(
        ProgramAllocation(
            program=row.program,
            block_size=count.size,
            peak=count.peak,
            allocated=count.allocated,
            freed=count.freed,
            short_lived=count.short_lived,
            process_long=count.process_long,
            freed_elsewhere=count.freed_elsewhere,
            resized=count.resized,
            aligned=count.aligned,
        )
        for row in rows
        for count in sorted(row.sizes.values(), key=lambda count: count.size)
    )


def _paper_allocations(rows: Iterable[ProgramAllocations]) -> tuple[MemoryAllocation, ...]:
    """Per size, the sum over programs of each one's peak in one process."""
    peaks: Counter[int] = Counter()
    for row in rows:
        for count in row.sizes.values():
            peaks[count.size] += count.peak
    return tuple(
        MemoryAllocation(block_size=size, number_of_blocks=peak)
        for size, peak in sorted(peaks.items())
    )


def _provenance(subject: Subject, recording: Recording) -> Provenance:
    host = recording.host or _this_machine()
    return Provenance(
        onejob=__version__,
        machine=host.machine,
        kernel=host.kernel,
        libc=host.libc,
        distribution=host.distribution,
        backend=recording.backend,
        partial="; ".join(filter(None, (subject.partial, _unknown(recording)))),
        sources=subject.sources,
    )


def _unknown(recording: Recording) -> str:
    """What the backend cannot see, in a sentence."""
    listed = "; ".join(recording.unknown)
    return f"watched by {recording.backend}, which does not show {listed}" if listed else ""


def _this_machine() -> HostSeen:
    return HostSeen(
        machine=platform.machine(),
        kernel=platform.release(),
        libc=" ".join(platform.libc_ver()),
        distribution=platform.freedesktop_os_release().get("PRETTY_NAME", ""),
    )
