"""Workload -> Profile: the whole way of the profiler."""

import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from onejob.base.accounts import identity_of
from onejob.base.apart import done_apart
from onejob.base.files import write_atomically
from onejob.base.progress import Progress
from onejob.base.user_namespace import enter_user_namespace
from onejob.drive.probe import Backend, ObserverLostError
from onejob.model.errors import InputError, LacksError, OnejobError, ServiceError
from onejob.model.profile import Profile
from onejob.model.workload import Workload
from onejob.profiler.allocations import ProgramAllocations
from onejob.profiler.assemble import assemble
from onejob.profiler.enough import ONCE, Patience
from onejob.profiler.job import profile_job
from onejob.profiler.observe import DEFAULT_PATH, Watched, watch_calls, watch_memory
from onejob.profiler.packages import need_packages
from onejob.profiler.recording import read_recording
from onejob.profiler.sandbox_folder import recordings_folder, run_folder
from onejob.profiler.subject import Subject


class _Runs(NamedTuple):
    """What the two watched runs brought."""

    calls: Watched
    allocations: tuple[ProgramAllocations, ...]


def take_profile(
    workload: Workload,
    text: str,
    progress: Progress,
    patience: Patience = ONCE,
    rescue: Path | None = None,
    backend: Backend = "ebpf",
) -> Profile:
    """Run the service of `workload` (whose file is `text`) under all its drills, and watch it.

    `patience` says whether the drills are run again, and how often; `rescue` is where a recording
    is kept whose observer was killed; `backend` is what the observer watches with.

    Whoever is not root has the service run as he is, in a user namespace.

    Raises LacksError (no eBPF, no user namespace, packages missing), InputError (no such command)
    or ServiceError (the service or a drill failed). Leaves nothing behind in any case.
    """
    need_packages(workload.packages, workload.name)
    if workload.network == "host":
        need_free_ports(workload.ports)
    program = find_program(workload.command[0])
    if not os.path.isdir(workload.directory):
        raise InputError(f"directory {workload.directory!r} of the workload is not there")
    if workload.job and (patience.quiet_rounds or os.geteuid() != 0):
        raise InputError(
            f"{workload.name} is a job: its drills are runs of their own",
            "profile it once, as root: without --until-stable",
        )
    if patience.quiet_rounds and not workload.drills()[1:-1]:
        raise InputError(
            f"{workload.name} has no drill that could be repeated: start and stop are once",
            "give its workload more drills, or profile it without --until-stable",
        )
    for path in workload.include:
        if not os.path.lexists(path):
            raise InputError(f"include {path!r} of the workload is not there")
    command = [program, *workload.command[1:]]
    subject = Subject.of_workload(workload, text, program)
    if workload.job:
        return profile_job(workload, workload.job, subject, progress, backend)

    def watch(progress: Progress) -> _Runs:
        return _watch(workload, command, progress, patience, rescue, backend)

    runs = watch(progress) if os.geteuid() == 0 else _watch_unprivileged(workload, watch, progress)
    progress.stage(f"{workload.name}: describing what it used")
    subject = replace(subject, partial=runs.calls.shortfall)
    profile = assemble(subject, runs.calls.recording, runs.allocations)
    return runs.calls.looked.added_to(profile)


def _watch(
    workload: Workload,
    command: list[str],
    progress: Progress,
    patience: Patience,
    rescue: Path | None,
    backend: Backend,
) -> _Runs:
    with run_folder() as folder, rescued(folder / "keep" / "recording.json", rescue):
        progress.stage(f"{workload.name}: watching calls and files")
        watched = watch_calls(workload, command, folder, progress, patience, backend)
    with recordings_folder() as folder:
        progress.stage(f"{workload.name}: watching memory")
        return _Runs(watched, watch_memory(workload, command, folder, progress))


def _watch_unprivileged(
    workload: Workload, watch: Callable[[Progress], _Runs], progress: Progress
) -> _Runs:
    """`watch`, in a user namespace; who owns what is only seen outside of it."""
    me = identity_of(workload.user)
    if workload.user != "root" and me.uid != os.geteuid():
        raise LacksError(
            f"running {workload.name} as {workload.user} needs root",
            "run it with sudo, as root, or as that user",
        )
    progress.note(
        "not root: the service runs as you are, with no other user's rights, and can change only"
        " what is yours (and that in a throw-away view)"
    )
    return done_apart(enter_user_namespace, watch, progress)


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
def rescued(recording: Path, rescue: Path | None) -> Iterator[None]:
    """Where the observer is lost, what it saw until then is kept as `rescue`, which is said."""
    try:
        yield
    except ObserverLostError as error:
        if rescue is None:
            raise
        try:
            # Read, not copied: the service could write there, too.
            seen = read_recording(recording).model_dump_json()
            write_atomically(rescue, f"{seen}\n".encode())
        except OnejobError as failed:
            raise ServiceError(error.what, f"and what it saw is lost: {failed.what}") from error
        raise ServiceError(error.what, f"what it saw until then is in {rescue}") from error
