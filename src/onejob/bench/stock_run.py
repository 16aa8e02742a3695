"""The stock guest running: on q35 with virtio, its disk never changed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from onejob.bench.bare import BareInstance, bare_instance
from onejob.bench.stock import StockGuest
from onejob.system.clock import clock_words
from onejob.system.guest import console_words, machine_words, network_words
from onejob.system.network import Publish, free_port

HOW = "qemu-q35"  # the distribution's kernel hangs on a microvm without ACPI
MEMORY_MIB = 1024  # plenty: it is not to be slowed down by a lack of it
# Our kernel for an emulated processor has no defences against speculation either.
KERNEL_LINE = "root=/dev/vda ro console=ttyS0 quiet mitigations=off"


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
) -> Iterator[BareInstance]:
    """Boot `guest` with `ports` forwarded; at the end of the context nothing of it is left."""
    forwards = [Publish("127.0.0.1", free_port(), port) for port in ports]
    words = stock_words(guest, accelerator, processors, forwards)
    with bare_instance("stock guest", words, forwards) as instance:
        yield instance
