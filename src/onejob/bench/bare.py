"""A guest in which there is no process 1 of ours to ask: a machine that boots by itself."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from onejob.system.console import Console
from onejob.system.control import Control
from onejob.system.instance import Instance
from onejob.system.kvm import find_qemu
from onejob.system.network import Publish
from onejob.system.qemu import Guest


class BareInstance(NamedTuple):
    """A guest on its way up; `since` is when QEMU, process `pid`, was started.

    `runner` says when QEMU has ended.
    """

    target: Instance
    since: float
    pid: int
    runner: Guest


@contextmanager
def bare_instance(
    name: str, words: Sequence[str], forwards: Sequence[Publish]
) -> Iterator[BareInstance]:
    """Start QEMU with `words`, which are all but its program and say `forwards` too.

    At the end of the context nothing of it is left.
    """
    with ExitStack() as stack:
        console = Console()
        stack.callback(console.close)
        # A control channel that has hung up says just that.
        ours, theirs = socket.socketpair()
        control = Control(ours)
        stack.callback(control.close)
        with theirs:
            running = Guest([find_qemu(), *words], console, theirs.fileno())
            stack.callback(running.end)
        console.stop_writing()
        addresses = {f.port: f"{f.host}:{f.host_port}" for f in forwards}
        target = Instance(name, running, control, console, addresses, None)
        yield BareInstance(target, running.since, running.pid, running)
