"""A workload for the benchmark ``call-cost``: any kind of call many times, one thread, one core.

Run as a program with a Unix socket's path it connects there, reads kinds of call, a line each, and
answers each with the nanoseconds of processor time that one call took. The calls are those that
nginx makes for a small file on a connection that is kept open.
"""

import os
import select
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

CALLS = 200  # timed at once
SIZE = 1024
PRIORITY = 50  # of a real-time thread: above whatever else the machine does

Call = Callable[[], object]


@contextmanager
def make_calls(folder: Path) -> Iterator[dict[str, Call]]:
    """Each kind of call, ready to be made again and again; in `folder` are its files."""
    page = folder / "page.html"
    page.write_bytes(bytes(SIZE))
    with ExitStack() as stack:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        sink = stack.enter_context(socket.socket())
        poll = stack.enter_context(select.epoll())
        stack.enter_context(ours), stack.enter_context(theirs)
        ours.setblocking(False)
        poll.register(ours.fileno(), select.EPOLLOUT)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file, log = os.open(page, os.O_RDONLY), os.open(folder / "log", flags)
        null = os.open("/dev/null", os.O_WRONLY)
        for descriptor in (file, log, null):
            stack.callback(os.close, descriptor)
        line, name = bytes(64), str(page)
        yield {
            "getppid": os.getppid,
            "epoll_wait": lambda: poll.poll(0),
            "recv": lambda: _refused(ours),
            "stat": lambda: os.stat(name),
            "open+close": lambda: os.close(os.open(name, os.O_RDONLY)),
            "fstat": lambda: os.fstat(file),
            "setsockopt": lambda: sink.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            "writev": lambda: os.writev(null, (line, line)),
            "sendfile": lambda: os.sendfile(null, file, 0, 64),
            "pread64": lambda: os.pread(file, 64, 0),
            "write": lambda: os.write(log, line),
        }


def _refused(connection: socket.socket) -> None:
    with suppress(BlockingIOError):
        connection.recv(64)


def time_call(call: Call) -> float:
    """Nanoseconds of processor time for one of CALLS calls."""
    begun = time.thread_time_ns()
    for _ in range(CALLS):
        call()
    return (time.thread_time_ns() - begun) / CALLS


def main(path: str) -> None:
    """Time what is asked for, before all other threads of the core where that is allowed."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    with (
        tempfile.TemporaryDirectory() as folder,
        make_calls(Path(folder)) as calls,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(path)
        for kind in connection.makefile():
            connection.sendall(b"%f\n" % time_call(calls[kind.strip()]))


if __name__ == "__main__":
    main(sys.argv[1])
