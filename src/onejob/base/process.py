"""Commands: run bounded, by argument list, ended as a group, never by name."""

import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from onejob.model.errors import BuildError, LacksError


def find_tool(name: str, package: str) -> str:
    """The path of an outside program; LacksError names the package that brings it."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise LacksError(f"{name} is not installed", f"apt-get install {package}")
    return found


def run_tool(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    text_input: str | None = None,
) -> str:
    """Run `argv` for at most `timeout` seconds; its standard output.

    BuildError with the end of its standard error where it fails or takes longer.
    """
    words = [str(word) for word in argv]
    with start_group(
        words,
        stdin=subprocess.PIPE if text_input is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if environment is None else dict(environment),
        cwd=directory,
        text=True,
        errors="replace",
    ) as process:
        try:
            out, err = process.communicate(text_input, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{words[0]} took longer than {timeout:g} s") from error
    if process.returncode != 0:
        tail = "\n".join(err.strip().splitlines()[-6:]) or "it printed nothing"
        raise BuildError(f"{Path(words[0]).name} failed ({process.returncode}): {tail}")
    return str(out)


@contextmanager
def start_group(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process in a group of its own; whatever is left of the group is killed at the end."""
    process = subprocess.Popen(argv, start_new_session=True, **options)
    try:
        yield process
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[Any], grace: float = 0.0) -> None:
    """End the group of `process`: SIGTERM first where `grace` seconds are given, then SIGKILL."""
    if grace and process.returncode is None:
        signal_group(process, signal.SIGTERM)
        await_end(process, grace)
    signal_group(process, signal.SIGKILL)
    await_end(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        close_quietly(stream)


def await_end(process: subprocess.Popen[Any], timeout: float = math.inf) -> None:
    """Return when `process` has ended, or after `timeout` seconds: Popen.wait without its lock.

    An interrupt that strikes inside Popen.poll, between its lock and its `try`, leaves that lock
    taken: Popen.wait, called on the way out, would then wait for ever.
    """
    deadline = time.monotonic() + timeout
    pause_s = 0.0005
    while process.returncode is None and time.monotonic() < deadline:
        try:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else collected it, and knows how it ended
            process.returncode = 0  # as Popen says then
            return
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
        else:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.02)


def signal_group(process: subprocess.Popen[Any], number: int) -> None:
    """Signal the group that `process` leads, if any of it is left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def close_quietly(stream: IO[Any] | None) -> None:
    """Close a stream whose other end may be gone."""
    if stream is not None:
        try:
            stream.close()
        except OSError:
            pass
