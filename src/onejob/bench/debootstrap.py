"""debootstrap, run bounded, in a mount namespace of its own, its progress shown."""

import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import IO

from onejob.base.process import find_tool, signal_group, start_group
from onejob.base.progress import Progress
from onejob.bench.sources import Source
from onejob.model.errors import BuildError

TIMEOUT_S = 1200
KEPT_LINES = 6
SIGKILL = 9


def make_root(
    tool: str, source: Source, packages: tuple[str, ...], root: Path, progress: Progress
) -> None:
    """A minimal system with `packages` at `root`; BuildError with the last lines where it fails."""
    # What it mounts below the root (proc, sys) goes with the namespace, whatever happens.
    unshare = [find_tool("unshare", "util-linux"), "--mount", "--propagation", "private", "--"]
    words = [*unshare, *debootstrap_words(tool, source, packages, root)]
    options = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "env": {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        "text": True,
        "errors": "replace",
    }
    with start_group(words, **options) as process:
        limit = threading.Timer(TIMEOUT_S, signal_group, (process, SIGKILL))
        limit.start()
        try:
            last = _follow(process.stdout, progress) if process.stdout else ""
            status = process.wait()
        finally:
            limit.cancel()
    if status != 0:
        why = f"took longer than {TIMEOUT_S} s" if status == -SIGKILL else f"failed ({status})"
        raise BuildError(f"debootstrap {why}:\n{last}", "is the package source reachable?")


def debootstrap_words(
    tool: str, source: Source, packages: tuple[str, ...], root: Path
) -> list[str]:
    """Its command line."""
    words = [tool, "--variant=minbase", f"--include={','.join(packages)}"]
    words += [f"--components={','.join(source.components)}"]
    words += [f"--keyring={source.keyring}"] if source.keyring else []
    return [*words, source.suite, str(root), source.uri]


def _follow(stream: IO[str], progress: Progress) -> str:
    """Show each line as a step; the last ones."""
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    for line in stream:
        kept.append(line.rstrip())
        progress.step(line.strip().removeprefix("I: ").lower())
    return "\n".join(kept)
