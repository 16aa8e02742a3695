"""Commands of a drill: run outside the service, unprivileged, in its network, bounded."""

import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from onejob.base.process import find_tool, signal_group, start_group
from onejob.model.errors import LacksError

KEPT_BYTES = 64 * 1024
NOBODY = 65534


class Ran(NamedTuple):
    """What came of a command. `status` is None where it took too long; negative: its signal."""

    status: int | None
    output: str
    errors: str


def run_outside(
    argv: Sequence[str], network: Path | None, timeout: float, packages: Sequence[str]
) -> Ran:
    """Run `argv` in `network` as nobody without new privileges, for at most `timeout` seconds.

    Whatever it left running is killed. LacksError names `packages` where there is no such command.
    """
    words = [*_prefix(network), _find(argv[0], packages), *argv[1:]]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start_group(words, cwd="/", env=_environment(), **pipes) as process:
        tails = [_Tail(stream) for stream in (process.stdout, process.stderr) if stream]
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        signal_group(process, signal.SIGKILL)  # what it left behind would hold the pipes open
        texts = [tail.text() for tail in tails]
    return Ran(status, *texts)


def _prefix(network: Path | None) -> list[str]:
    """Into the namespace first, which needs rights, and then without them; root becomes nobody."""
    prefix = []
    if network is not None:
        prefix = [find_tool("nsenter", "util-linux"), f"--net={network}", "--"]
    less = ["--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all"]
    if os.geteuid() == 0:
        less += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*prefix, find_tool("setpriv", "util-linux"), *less, "--"]


def _find(name: str, packages: Sequence[str]) -> str:
    found = shutil.which(name, path=_environment()["PATH"])
    if found is None:
        hint = f"apt-get install {' '.join(packages)}" if packages else f"install {name}"
        raise LacksError(f"the drill's command {name} is not installed", hint)
    return found


def _environment() -> dict[str, str]:
    """Little enough that a drill does the same wherever onejob was called from."""
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": "/nonexistent"}


class _Tail:
    """Reads a stream to its end and keeps the last KEPT_BYTES."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._chunks: deque[bytes] = deque()
        self._kept = 0
        # Of its own: what escaped from the group may hold the pipe open after `stream` is closed.
        self._descriptor = os.dup(stream.fileno())
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := os.read(self._descriptor, 8192):
            self._chunks.append(chunk)
            self._kept += len(chunk)
            while self._kept - len(self._chunks[0]) >= KEPT_BYTES:
                self._kept -= len(self._chunks.popleft())
        os.close(self._descriptor)

    def text(self) -> str:
        """What was kept; whoever still holds the pipe is waited for only briefly."""
        self._thread.join(1.0)
        return b"".join(list(self._chunks)).decode(errors="replace")
