"""Clients that come to a guest's port at once are all let in, as on a host."""

import socket
import subprocess
import sys
from contextlib import ExitStack

from onejob.system.backlog import widen_backlogs

CLIENTS = 24
# As QEMU's user network does it. It accepts nobody, so that its queue is all that lets clients in.
LISTENER = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0), backlog=1)
print(listening.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_a_crowd_waits_where_qemu_would_let_two_in() -> None:
    """redis in a guest refused nobody, and reset connections: its clients came one by one."""
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        assert process.stdin is not None and process.stdout is not None
        stack.callback(process.stdin.close)
        port = int(process.stdout.readline())
        widen_backlogs(process.pid, [port])
        for _ in range(CLIENTS):  # without it, the third would wait until the time-out
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))


def test_who_has_ended_or_does_not_listen_is_no_error() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait(60)
    widen_backlogs(done.pid, [1])
