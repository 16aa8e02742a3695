"""Workload -> Profile: the whole way of the profiler."""

import os
import platform
import shutil
import socket
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onejob import __version__
from onejob.base.linux import need_root
from onejob.base.progress import Progress
from onejob.model.errors import InputError, LacksError
from onejob.model.profile import (
    Argument,
    CallUse,
    DrillRun,
    MemoryAllocation,
    Phase,
    Profile,
    ProgramAllocation,
    Provenance,
    SystemCall,
)
from onejob.model.syscalls import call_name
from onejob.model.workload import Workload
from onejob.profiler.allocations import ProgramAllocations
from onejob.profiler.describe import describe_accounts, describe_recording
from onejob.profiler.observe import DEFAULT_PATH, watch_calls, watch_memory
from onejob.profiler.packages import closure_of, need_packages
from onejob.profiler.recording import Recording, ways_of

_USER_CALLS = {"setuid", "setreuid", "setresuid", "setfsuid"}
_GROUP_CALLS = {"setgid", "setregid", "setresgid", "setfsgid"}
_NO_ID = 2**32 - 1  # -1: leave as it is (setresuid(2))


def take_profile(workload: Workload, text: str, progress: Progress) -> Profile:
    """Run the service of `workload` (whose file is `text`) under all its drills, and watch it.

    Raises LacksError (not root, no eBPF, packages missing), InputError (no such command) or
    ServiceError (the service or a drill failed). Leaves nothing behind in any case.
    """
    need_root("profiling")
    need_packages(workload.packages, workload.name)
    if workload.network == "host":
        need_free_ports(workload.ports)
    program = find_program(workload.command[0])
    if not os.path.isdir(workload.directory):
        raise InputError(f"directory {workload.directory!r} of the workload is not there")
    for path in workload.include:
        if not os.path.lexists(path):
            raise InputError(f"include {path!r} of the workload is not there")
    command = [program, *workload.command[1:]]
    with run_folder() as folder:
        progress.stage(f"{workload.name}: watching calls and files")
        recording, resident_kib = watch_calls(workload, command, folder, progress)
    with run_folder() as folder:
        progress.stage(f"{workload.name}: watching memory")
        allocations = watch_memory(workload, command, folder, progress)
    progress.stage(f"{workload.name}: describing what it used")
    profile = assemble(workload, text, program, recording, allocations)
    return profile.model_copy(update={"resident_kib": resident_kib})


def need_free_ports(ports: Iterable[int]) -> None:
    """LacksError where somebody else has a port: the drills would take it for the service."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError as error:
                raise LacksError(
                    f"port {port} of this machine cannot be had: {error.strerror}",
                    f"stop what listens there (ss -ltnp 'sport = {port}')",
                ) from error


def find_program(command: str) -> str:
    """The canonical path of the program that `command` names."""
    found = shutil.which(command, path=DEFAULT_PATH)
    if found is None:
        raise InputError(
            f"command {command!r} is not found",
            f"install it, or name it by path; PATH is {DEFAULT_PATH}",
        )
    return found


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for one watched run."""
    path = Path(tempfile.mkdtemp(prefix="onejob-", dir="/run"))
    try:
        path.chmod(0o711)  # the service's own users reach what is meant for them
        (path / "keep").mkdir()
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def assemble(
    workload: Workload,
    text: str,
    program: str,
    recording: Recording,
    allocations: Iterable[ProgramAllocations],
) -> Profile:
    """The profile of one recording."""
    rows = tuple(allocations)
    calls = _calls(recording)
    arguments = _arguments(recording)
    files = describe_recording(recording, workload.include)
    users, groups = _identities(arguments)
    users |= {file.uid for file in files if file.existed}
    groups |= {file.gid for file in files if file.existed}
    accounts, group_rows = describe_accounts(users, groups)
    return Profile(
        memory_allocations=_paper_allocations(rows),
        number_of_processes=recording.peaks.processes,
        number_of_sockets=recording.peaks.sockets,
        system_calls=tuple(SystemCall(call_name=n) for n in sorted({c.call_name for c in calls})),
        number_of_threads=recording.peaks.threads,
        number_of_descriptors=recording.peaks.descriptors,
        number_of_pipes=recording.peaks.pipes,
        events_lost=_lost(recording, rows),
        name=workload.name,
        program=program,
        workload=text,
        provenance=_provenance(recording),
        drills=_drills(recording),
        calls=calls,
        arguments=arguments,
        files=files,
        allocations=_allocations(rows),
        accounts=accounts,
        groups=group_rows,
        packages=closure_of(os.path.realpath(program), workload.packages),
    )


def _lost(recording: Recording, rows: Iterable[ProgramAllocations]) -> int:
    """Events that neither observer could keep."""
    return sum(recording.lost.values()) + sum(row.overflow + row.unrecorded_forks for row in rows)


def phase_of(drill: str) -> Phase:
    """The service boots until it is ready, which is what the drill `start` covers."""
    return "boot" if drill == "start" else "serve"


def _programs(recording: Recording) -> dict[int, str]:
    return {program.id: program.path for program in recording.programs}


def _calls(recording: Recording) -> tuple[CallUse, ...]:
    programs = _programs(recording)
    uses = [
        CallUse(
            program=programs[seen.program],
            call_name=call_name(seen.nr),
            phase=phase_of(recording.drills[seen.drill]),
            drill=recording.drills[seen.drill],
            count=seen.count,
            failed=sum(seen.errors.values()),
            errors=tuple(sorted(int(number) for number in seen.errors)),
        )
        for seen in recording.calls
    ]
    return tuple(sorted(uses, key=lambda use: (use.program, use.call_name, use.phase, use.drill)))


def _arguments(recording: Recording) -> tuple[Argument, ...]:
    programs = _programs(recording)
    rows = [
        Argument(
            program=programs[seen.program],
            call_name=call_name(seen.nr),
            drill=recording.drills[seen.drill],
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


def _drills(recording: Recording) -> tuple[DrillRun, ...]:
    """Each drill with what it brought that none before it had."""
    calls: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
    files: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
    for call in recording.calls:
        calls[call.drill].add((call.program, call.nr))
    for file in recording.files:
        files[file.drill] |= {(file.path, how) for how in ways_of(file)}
    runs = []
    known_calls: set[tuple[int, int]] = set()
    known_files: set[tuple[str, str]] = set()
    for index, name in enumerate(recording.drills):
        new_calls, new_files = calls[index] - known_calls, files[index] - known_files
        known_calls |= new_calls
        known_files |= new_files
        counts = {"new_calls": len(new_calls), "new_files": len(new_files)}
        runs.append(DrillRun(name=name, phase=phase_of(name), **counts))
    return tuple(runs)


def _allocations(rows: Iterable[ProgramAllocations]) -> tuple[ProgramAllocation, ...]:
    return tuple(
        ProgramAllocation(
            program=row.program,
            block_size=count.size,
            peak=count.peak,
            allocated=count.allocated,
            freed=count.freed,
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


def _provenance(recording: Recording) -> Provenance:
    return Provenance(
        onejob=__version__,
        machine=platform.machine(),
        kernel=platform.release(),
        libc=" ".join(platform.libc_ver()),
        distribution=platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        backend=recording.backend,
    )
