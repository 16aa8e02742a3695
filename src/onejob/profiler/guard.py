"""The guard: cleans up after a onejob that was killed with SIGKILL and could not do so itself.

A process of its own that waits for the end of its standard input, which onejob holds open. Then it
ends all that still runs in the sandbox of a run's folder, and removes the folder.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onejob.base.process import end_group
from onejob.profiler.namespace import kill_namespace, mount_namespace


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """`folder` is cleaned up if this process is killed meanwhile."""
    guard = subprocess.Popen(
        [sys.executable, "-I", "-m", "onejob.profiler.guard", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what is meant for onejob's group is not for it
    )
    try:
        yield
    finally:
        end_group(guard)


def clean_up(folder: Path) -> None:
    """End whatever runs in a sandbox that has its scratch files in `folder`, and remove that."""
    for namespace in {mount_namespace(pid) for pid in _pids() if _has_scratch(pid, folder)}:
        kill_namespace(namespace)
    shutil.rmtree(folder, ignore_errors=True)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _has_scratch(pid: int, folder: Path) -> bool:
    """Whether the mounts of `pid` are overlays with their upper layers in `folder` (proc(5))."""
    with suppress(OSError):
        return f"upperdir={folder}/" in Path(f"/proc/{pid}/mountinfo").read_text(errors="replace")
    return False


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clean_up(Path(sys.argv[1]))
