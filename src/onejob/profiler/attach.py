"""A service that runs already -> Profile: watched for a while, and left alone."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from pydantic import TypeAdapter

from onejob.base.linux import need_root
from onejob.base.natives import cache_path
from onejob.base.process import run_tool
from onejob.base.progress import Progress
from onejob.drive.attached import Attached
from onejob.model.errors import BuildError, InputError, ServiceError
from onejob.model.profile import Profile
from onejob.model.profile_xml import parse_profile
from onejob.profiler.assemble import assemble
from onejob.profiler.namespace import mount_namespace
from onejob.profiler.recording import read_recording
from onejob.profiler.running import Running
from onejob.profiler.sandbox_folder import run_folder
from onejob.profiler.subject import Subject

PARTIAL = "attached to what ran already: its start was not seen"
UNRECORDED = "it ran already: the memory recorder is preloaded when a program starts"
_LOOK_S = 0.2
_DESCRIBE_TIMEOUT_S = 900.0


def attach_profile(
    running: Running, seconds: float | None, stop: Event, progress: Progress
) -> Profile:
    """Watch `running` for `seconds`, or until `stop` is set or the service ends; then describe it.

    The service is never signalled. Raises LacksError (not root, no eBPF), InputError (it cannot be
    watched) or ServiceError (the observer failed).
    """
    need_root("attaching")
    with run_folder() as folder, _held(running.main) as held:
        progress.stage(f"{running.name}: watching process {running.main} and its descendants")
        recording = folder / "keep" / "recording.json"
        pids = [] if running.cgroup else [running.main]
        with Attached(pids, running.cgroup, recording) as probe:
            _wait(probe, seconds, stop, progress)
            probe.finish()
        progress.stage(f"{running.name}: describing what it used")
        return describe(subject_of(running.name, held.program), recording, held.root)


def subject_of(name: str, program: str) -> Subject:
    """What such a profile is of."""
    return Subject(name=name, program=program, partial=PARTIAL, unrecorded=UNRECORDED)


def describe(subject: Subject, recording: Path, root: Path | None) -> Profile:
    """The profile of a recording; its files are those in `root` (a folder), or of this machine.

    In another root it is done by a process of its own, since so much of it looks at files.
    """
    if root is None:
        return assemble(subject, read_recording(recording), ())
    words = [sys.executable, "-I", "-m", "onejob.profiler.inside", str(root), str(recording)]
    words += [str(cache_path()), TypeAdapter(Subject).dump_json(subject).decode()]
    try:
        text = run_tool(words, timeout=_DESCRIBE_TIMEOUT_S)
    except BuildError as error:
        raise ServiceError(f"cannot describe the files of {subject.name}: {error.what}") from error
    return parse_profile(text, f"profile of {subject.name}")


class _Held:
    """The main process's program and root; the latter stays as it is when the process ends."""

    def __init__(self, program: str, root: Path | None) -> None:
        self.program = program
        self.root = root


@contextmanager
def _held(pid: int) -> Iterator[_Held]:
    """A service may end while it is watched: its root and mounts are kept until it is described."""
    descriptors: list[int] = []
    try:
        try:
            for name, flags in (("root", os.O_PATH | os.O_DIRECTORY), ("ns/mnt", os.O_RDONLY)):
                descriptors.append(os.open(f"/proc/{pid}/{name}", flags | os.O_CLOEXEC))
            program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            top = os.readlink(f"/proc/{pid}/root").rstrip("/")
        except OSError as error:
            raise InputError(f"process {pid} has ended: {error.strerror}") from error
        inside = program.removeprefix(top) if program.startswith(f"{top}/") else program
        yield _Held(inside, _foreign_root(pid, descriptors[0]))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _foreign_root(pid: int, root: int) -> Path | None:
    """Where the root of `pid` is found; None where it sees the very files that we see."""
    same_root = os.path.samestat(os.fstat(root), os.stat("/"))
    if same_root and mount_namespace(pid) == mount_namespace(os.getpid()):
        return None
    return Path(f"/proc/{os.getpid()}/fd/{root}")


def _wait(probe: Attached, seconds: float | None, stop: Event, progress: Progress) -> None:
    begun = time.monotonic()
    while not probe.ended() and not stop.wait(_LOOK_S):
        passed = time.monotonic() - begun
        if seconds is not None and passed >= seconds:
            return
        until = "until Ctrl-C" if seconds is None else f"of {seconds:g} s"
        progress.step(f"{passed:.0f} s {until}", passed / seconds if seconds else None)
