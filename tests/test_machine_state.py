"""The leak check itself, verified with known leaks: each is seen, by name, and then gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from machine_state import leaks_since, take_snapshot

# Starts a daemon as services do: it leaves session and parent, and says its process id.
DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
    os.execv("/bin/sleep", ["sleep", "60"])
"""


def started(*words: str, environment: dict[str, str] | None = None) -> int:
    """The process id that a command which starts a daemon prints."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        return int(process.stdout.readline())


@contextmanager
def daemon(*words: str, environment: dict[str, str] | None = None) -> Iterator[int]:
    pid = started(*words, sys.executable, "-c", DAEMON, environment=environment)
    time.sleep(0.1)  # until exec, its command line is Python's
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)


def test_a_daemon_is_seen() -> None:
    before = take_snapshot()
    with daemon() as pid:
        assert f"process {pid}: sleep 60" in leaks_since(before)
    assert f"process {pid}: sleep 60" not in leaks_since(before)


@pytest.mark.root
def test_a_daemon_without_environment_in_a_network_of_its_own_is_seen() -> None:
    before = take_snapshot()
    with daemon("unshare", "--net", environment={"PATH": os.environ["PATH"]}) as pid:
        assert f"process {pid}: sleep 60" in leaks_since(before)
    assert f"process {pid}: sleep 60" not in leaks_since(before)


@pytest.mark.root
@pytest.mark.parametrize(
    ("make", "undo", "seen"),
    [
        ("mkdir {path}", "rmdir {path}", "folder or file {path}"),
        ("ip netns add {name}", "ip netns delete {name}", "network namespace {name}"),
    ],
)
def test_what_is_left_is_seen(make: str, undo: str, seen: str) -> None:
    name = f"onejob-leak-{os.getpid()}"
    make, undo, seen = (text.format(name=name, path=f"/tmp/{name}") for text in (make, undo, seen))
    before = take_snapshot()
    subprocess.run(make.split(), check=True, timeout=10)
    found = leaks_since(before)
    subprocess.run(undo.split(), check=True, timeout=10)
    assert seen in found
    assert seen not in leaks_since(before)


@pytest.mark.root
def test_a_mount_is_seen(tmp_path: Path) -> None:
    place = tmp_path / "onejob-mount"
    place.mkdir()
    before = take_snapshot()
    subprocess.run(["mount", "-t", "tmpfs", "onejob", place], check=True, timeout=10)
    found = leaks_since(before)
    subprocess.run(["umount", place], check=True, timeout=10)
    assert any(str(place) in leak for leak in found), found
    assert not any(str(place) in leak for leak in leaks_since(before))
