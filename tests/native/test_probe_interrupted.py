"""Calls that a signal interrupts: an ignored one is none for who is not traced, and counts so."""

import sys
from errno import EINTR
from pathlib import Path

import pytest
from probe_driver import record

pytestmark = [pytest.mark.ebpf, pytest.mark.root]

# The parent's only waitid(2), in which its child finds it and sends it five signals.
SCRIPT = """
import os, pathlib, signal, time
number, flag, times = {number}, {flag}, {times}
if flag is not None:
    signal.signal(number, lambda *_: None)
    signal.siginterrupt(number, flag)
child = os.fork()
if child:
    os.waitid(os.P_PID, child, os.WEXITED)
    os._exit(0)
parent = os.getppid()
for _ in range(times):
    while pathlib.Path(f"/proc/{{parent}}/syscall").read_text().split()[0] != "247":
        time.sleep(0.001)
    os.kill(parent, number)
    time.sleep(0.05)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("number", "interrupts", "times", "calls", "errors"),
    [
        ("signal.SIGURG", None, 5, 1, {}),
        ("signal.SIGUSR1", False, 1, 2, {EINTR: 1}),  # the kernel makes it again, after the handler
        ("signal.SIGUSR1", True, 1, 2, {EINTR: 1}),  # Python does
    ],
    ids=["ignored", "handled, restarts", "handled, fails"],
)
def test_only_a_handler_makes_two_calls_of_one(
    number: str,
    interrupts: bool | None,
    times: int,
    calls: int,
    errors: dict[int, int],
    tmp_path: Path,
    backend: str,
) -> None:
    script = SCRIPT.format(number=number, flag=interrupts, times=times)
    recording = record(tmp_path, Path(sys.executable), "-c", script, backend=backend)
    assert recording.count("waitid") == calls
    assert recording.errors("waitid") == errors


def test_a_sleep_that_is_interrupted_is_one_call(tmp_path: Path, backend: str) -> None:
    """What waits for a time is restarted by a call of its own, restart_syscall(2)."""
    script = (
        "import os, signal, time\n"
        "parent = os.getpid()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    for _ in range(20):\n"
        "        time.sleep(0.02)\n"
        "        os.kill(parent, signal.SIGURG)\n"
        "    os._exit(0)\n"
        "import select\n"
        "select.poll().poll(500)\n"
    )
    recording = record(tmp_path, Path(sys.executable), "-c", script, backend=backend)
    assert recording.count("poll") == 1
    assert recording.count("restart_syscall") == 0
