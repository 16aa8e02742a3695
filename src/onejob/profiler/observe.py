"""The two watched runs of a service: one under the probe, one with the memory recorder preloaded.

Two runs, because the recorder makes calls and opens files of its own, which would then stand in the
profile as the service's. Both run the same drills in the same kind of sandbox.
"""

import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from onejob.base.accounts import ROOT, Identity, identity_of
from onejob.base.natives import native_path
from onejob.base.process import end_group
from onejob.base.progress import Progress
from onejob.drive.drills import DrillResult, run_drills
from onejob.drive.probe import Backend, Probe
from onejob.drive.ready import wait_ready, with_output
from onejob.drive.target import Exit
from onejob.model.errors import OnejobError, ServiceError
from onejob.model.workload import Drill, Workload
from onejob.profiler.allocation_files import gathering, make_folder
from onejob.profiler.allocations import ProgramAllocations
from onejob.profiler.enough import ONCE, Patience, Rounds
from onejob.profiler.looks import Looked
from onejob.profiler.namespace import (
    is_orphan,
    kill_namespace,
    processes_in,
    sandbox_of,
    terminate_rest,
)
from onejob.profiler.place import ProfiledService
from onejob.profiler.recording import Recording, read_recording
from onejob.profiler.resident import repeated
from onejob.profiler.sandbox import sandbox_command
from onejob.profiler.words import Words, words_to

_START_TIMEOUT_S = 15.0
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Watched(NamedTuple):
    """What came of a run under the probe.

    `shortfall` says why it may not be all, and is empty where it is.
    """

    recording: Recording
    looked: Looked
    shortfall: str


class _Narrator:
    """Shows each drill as it begins."""

    def __init__(self, workload: Workload, progress: Progress, rounds: Rounds | None) -> None:
        self._rounds = rounds
        self._progress = progress
        self._done = 0
        self._total = len(workload.drills())

    def drill_begins(self, drill: Drill) -> None:
        self._progress.step(f"drill {drill.name}", min(self._done / self._total, 1.0))

    def drill_ended(self, result: DrillResult) -> None:
        self._done += 1
        if self._rounds:
            self._rounds.drill_ended(result)

    def another_round(self) -> bool:
        return self._rounds is not None and self._rounds.another()


def service_environment(workload: Workload) -> dict[str, str]:
    """What the service finds in its environment: a PATH, and what the workload gives."""
    return {"PATH": DEFAULT_PATH, **workload.environment}


def watch_calls(
    workload: Workload,
    command: list[str],
    folder: Path,
    progress: Progress,
    patience: Patience = ONCE,
    backend: Backend = "ebpf",
) -> Watched:
    """Run the service under the probe, which uses `backend`; the drills again by `patience`."""
    log = folder / "output"
    with words_to(log, other_identity(workload)) as words:
        probe = _start_probe(workload, command, folder, words, backend)
        # A probe that is killed leaves the service running: then the sandbox is emptied without it.
        with sandbox_of(probe.observer) as sandbox, probe:
            rounds = Rounds(patience, probe, progress)
            service = ProfiledService(
                probe.pid, None, probe.exited, rounds.begin_drill, log, probe.processor
            )
            with repeated(service.note_memory):
                _drive(service, probe.pid, sandbox, workload, progress, rounds)
            recording = read_recording(probe.finish())
    return Watched(recording, service.looks.looked(), rounds.shortfall())


def _start_probe(
    workload: Workload, command: list[str], folder: Path, output: Words, backend: Backend
) -> Probe:
    try:
        return Probe(
            command,
            folder / "keep" / "recording.json",
            output=output.descriptor,
            prefix=[*sandbox_words(workload, folder), "--"],
            environment=service_environment(workload),
            identity=other_identity(workload),
            backend=backend,
            settling=workload.settles,
        )
    except OnejobError as error:
        # The sandbox has no other place for its complaints than the service's output.
        output.let_go()
        said = (folder / "output").read_text(errors="replace").strip()
        raise type(error)("\n".join([error.what, *said.splitlines()[-6:]]), error.hint) from error


def watch_memory(
    workload: Workload, command: list[str], folder: Path, progress: Progress
) -> tuple[ProgramAllocations, ...]:
    """Run the service with the memory recorder preloaded; its counts by program."""
    recordings = folder / "keep" / "allocations"
    make_folder(recordings)
    words = sandbox_words(workload, folder)
    words += ["--set", f"LD_PRELOAD={native_path('libonejob_recorder.so')}"]
    words += ["--set", f"ONEJOB_RECORDER_DIR={recordings}"]
    other = other_identity(workload)
    words += ["--user", other.text()] if other != ROOT else []
    log = folder / "output"
    with (
        gathering(recordings) as gatherer,
        words_to(log, other) as output,
        started(words, command, service_environment(workload), output.descriptor) as (
            process,
            sandbox,
        ),
    ):
        exited = partial(exit_of, process)
        service = ProfiledService(process.pid, None, exited, lambda _drill: None, log)
        _drive(service, process.pid, sandbox, workload, progress)
    return gatherer.finish()


@contextmanager
def started(
    sandbox: list[str], command: list[str], environment: Mapping[str, str], output: IO[bytes] | int
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`command` as soon as it has begun, and its sandbox; at the end all of that is gone."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [*sandbox, "--tell", str(theirs), "--", *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(environment),
        pass_fds=(theirs,),
        start_new_session=True,
    )
    os.close(theirs)
    namespace = ""
    try:
        namespace = _read_told(ours)
        yield process, namespace
    finally:
        os.close(ours)
        end_group(process)
        kill_namespace(namespace)


def _read_told(pipe: int) -> str:
    """The namespace that the sandbox tells of; its end of the pipe is closed by the exec."""
    told = b""
    while select.select([pipe], [], [], _START_TIMEOUT_S)[0] and (chunk := os.read(pipe, 256)):
        told += chunk
    return told.decode()


@contextmanager
def network_of(pid: int) -> Iterator[Path]:
    """The network namespace of `pid`, held open so that it can be looked at after its end."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def other_identity(workload: Workload) -> Identity:
    """Whom root must become to run the service; ROOT where nothing is to change."""
    return identity_of(workload.user) if os.geteuid() == 0 else ROOT


def sandbox_words(workload: Workload, folder: Path) -> list[str]:
    private = workload.network == "private"
    return sandbox_command(folder, private, workload.directory, workload.folders)


def _drive(
    service: ProfiledService,
    pid: int,
    sandbox: str,
    workload: Workload,
    progress: Progress,
    rounds: Rounds | None = None,
) -> None:
    """Run all drills on a service that has begun as `pid` in `sandbox`."""
    with ExitStack() as stack:
        try:
            try:
                service.network = stack.enter_context(network_of(pid))
            except OSError as error:
                raise _died_at_once(service, workload) from error
            progress.step("waiting until it is ready")
            wait_ready(service, workload, time.monotonic())
            narrator = _Narrator(workload, progress, rounds)
            run_drills(service, workload, narrator, narrator.another_round)
            terminate_rest(sandbox)
        except ServiceError as error:
            if rounds:
                error = rounds.explained(error)
            raise _with_daemon_hint(error, service, sandbox) from error


def _with_daemon_hint(error: ServiceError, service: ProfiledService, sandbox: str) -> ServiceError:
    """`error`, explained where the command ended well because it had made itself a daemon."""
    orphans = [pid for pid in processes_in(sandbox) if is_orphan(pid)]
    if service.exited() != Exit(0, None) or not orphans:
        return error
    number = "1 process of it goes" if len(orphans) == 1 else f"{len(orphans)} processes of it go"
    what = f"{error.what}\nit became a daemon: {number} on without it"
    return ServiceError(what, "start it in the foreground (often -D, -F, -f or --nodaemon)")


def _died_at_once(service: ProfiledService, workload: Workload) -> ServiceError:
    deadline = time.monotonic() + 2.0
    while (ended := service.exited()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    what = f"{workload.name} ended with {ended or 'an unknown status'} before it was ready"
    return ServiceError(with_output(what, service, workload.name))


def exit_of(process: subprocess.Popen[bytes]) -> Exit | None:
    status = process.poll()
    if status is None:
        return None
    return Exit(status, None) if status >= 0 else Exit(None, -status)
