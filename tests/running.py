"""The command line, run as a user does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Onejob = Callable[..., subprocess.CompletedProcess[str]]


def run_onejob(*words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does; the caller looks at status and output."""
    return subprocess.run(
        [sys.executable, "-m", "onejob.cli.main", *map(str, words)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, cwd=ROOT,
    )  # fmt: skip


def must(done: subprocess.CompletedProcess[str]) -> None:
    """Fail with all that was said where a command failed."""
    assert done.returncode == 0, json.dumps(done.args) + "\n" + done.stdout + done.stderr
