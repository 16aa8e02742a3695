"""The stock guest running: on q35 with virtio, its disk never changed."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from onejob.bench.stock import StockGuest
from onejob.system.clock import clock_words
from onejob.system.console import Console
from onejob.system.control import Control
from onejob.system.guest import console_words, machine_words, network_words
from onejob.system.instance import Instance
from onejob.system.kvm import find_qemu
from onejob.system.network import Publish, free_port
from onejob.system.qemu import Guest

HOW = "qemu-q35"  # the distribution's kernel hangs on a microvm without ACPI
MEMORY_MIB = 1024  # plenty: it is not to be slowed down by a lack of it
# Our kernel for an emulated processor has no defences against speculation either.
KERNEL_LINE = "root=/dev/vda ro console=ttyS0 quiet mitigations=off"


class StockInstance(NamedTuple):
    """A stock guest on its way up; `since` is when QEMU, process `pid`, was started."""

    target: Instance
    since: float
    pid: int


def stock_words(
    guest: StockGuest, accelerator: str, processors: int, forwards: Sequence[Publish]
) -> list[str]:
    """QEMU's command line for it, the parts that both guests share made by the same functions."""
    disk = str(guest.disk.absolute()).replace(",", ",,")
    words = [*machine_words(HOW, accelerator), *console_words()]
    words += ["-m", str(MEMORY_MIB), "-smp", str(processors)]
    words += ["-drive", f"id=root,if=none,format=raw,snapshot=on,file={disk}"]
    words += ["-device", "virtio-blk-pci,drive=root"]
    words += network_words(HOW, forwards, closed=True)
    words += ["-kernel", str(guest.kernel.absolute()), "-initrd", str(guest.initrd.absolute())]
    return [*words, "-append", " ".join([KERNEL_LINE, *clock_words(accelerator)])]


@contextmanager
def stock_instance(
    guest: StockGuest, ports: Sequence[int], accelerator: str, processors: int
) -> Iterator[StockInstance]:
    """Boot `guest` with `ports` forwarded; at the end of the context nothing of it is left."""
    forwards = [Publish("127.0.0.1", free_port(), port) for port in ports]
    words = [find_qemu(), *stock_words(guest, accelerator, processors, forwards)]
    with ExitStack() as stack:
        console = Console()
        stack.callback(console.close)
        # There is no process 1 of ours in it: a control channel that has hung up says just that.
        ours, theirs = socket.socketpair()
        control = Control(ours)
        stack.callback(control.close)
        with theirs:
            running = Guest(words, console, theirs.fileno())
            stack.callback(running.end)
        console.stop_writing()
        addresses = {f.port: f"{f.host}:{f.host_port}" for f in forwards}
        target = Instance("stock guest", running, control, console, addresses, None)
        yield StockInstance(target, running.since, running.pid)
