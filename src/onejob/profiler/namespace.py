"""All processes of a watched service, found by their mount namespace, however they left home."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TERMINATE_S = 2.0  # native/init/src/life.rs


def mount_namespace(pid: int) -> str:
    """What identifies the mount namespace of `pid`; empty where it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def processes_in(namespace: str) -> list[int]:
    """The processes in a sandbox's namespace; none where it is our own, or empty."""
    if namespace in ("", mount_namespace(os.getpid())):
        return []
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if mount_namespace(pid) == namespace]


def kill_namespace(namespace: str) -> None:
    """Kill every process in the sandbox."""
    while found := processes_in(namespace):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)  # what has died meanwhile is in no namespace any more


def terminate_rest(namespace: str) -> None:
    """What the main process has left: SIGTERM, and time to end, as process 1 does in an image.

    Processes write to logs then, or close what they have open, which belongs into a profile.
    """
    rest = {pid for pid in processes_in(namespace) if not _is_observer(pid)}
    for pid in rest:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _TERMINATE_S
    while rest & {*processes_in(namespace)} and time.monotonic() < deadline:
        time.sleep(0.005)


@contextmanager
def sandbox_of(pid: int) -> Iterator[str]:
    """The namespace that `pid` has entered; at the end, nothing runs in it any more."""
    namespace = mount_namespace(pid)
    try:
        yield namespace
    finally:
        kill_namespace(namespace)


def is_orphan(pid: int) -> bool:
    """Whether `pid`, in a sandbox, is of the service and has lost its parent there."""
    return not _is_observer(pid) and not _is_of_service(_parent_of(pid), pid)


def _is_of_service(parent: int, pid: int) -> bool:
    return mount_namespace(parent) == mount_namespace(pid) and not _is_observer(parent)


def _is_observer(pid: int) -> bool:
    """Whether `pid` is the probe, or the keeper of its maps."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "onejob-probe"
    except OSError:
        return False


def _parent_of(pid: int) -> int:
    """The parent of `pid` (proc(5), stat); 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
