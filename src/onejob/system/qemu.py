"""An image in a QEMU guest: its own kernel booted directly, no firmware, no boot loader."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from onejob.base.data_disk import data_mib, locked_disk, make_data_disk
from onejob.base.process import end_group
from onejob.model.image import Image
from onejob.system.backlog import widen_backlogs
from onejob.system.clock import clock_words
from onejob.system.console import Console
from onejob.system.control import Control
from onejob.system.guest import (
    console_words,
    device_words,
    kernel_line,
    machine_words,
    network_words,
)
from onejob.system.host import private_folder
from onejob.system.instance import Instance, OnText
from onejob.system.kvm import Accelerator, find_accelerator, find_qemu
from onejob.system.network import Publish, free_port, need_port

_TABLES = ("tcp", "tcp6")  # of /proc/net
_LOOK_S = 0.1


class QemuInstance(Instance):
    """An image in a guest; `since` is when QEMU, process `pid`, was started (time.monotonic)."""

    since: float = 0.0
    pid: int = 0
    memory_mib: int = 0
    accelerator = Accelerator("tcg", "")

    def await_listening(self, port: int, within: float) -> None:
        """Until the guest listens at TCP `port`, for `within` seconds at most; asked as in a drill.

        QEMU's user network holds connections open as long as the guest does not answer at all.
        """
        row = f":{port:04X} "  # local address and port, and then nobody: proc_net_tcp(5)
        listens = (f"{row}00000000:0000 0A", f"{row}{'0' * 32}:0000 0A")
        end = time.monotonic() + within
        while time.monotonic() < end and self.exited() is None:
            if any(
                self.contains(f"/proc/net/{name}", row)
                for name, row in zip(_TABLES, listens, strict=True)
            ):
                return
            time.sleep(_LOOK_S)


@contextmanager
def qemu_instance(
    image: Image,
    *,
    publish: Sequence[Publish] = (),
    memory_mib: int | None = None,
    data: Path | None = None,
    closed: bool = True,
    driven: bool = True,
    accelerator: Accelerator | None = None,
    monitor: Path | None = None,
    on_text: OnText | None = None,
) -> Iterator[QemuInstance]:
    """Boot `image`; at the end of the context nothing of it is left, whatever happened.

    Ports without a `publish` are forwarded from free ports of the loopback. `data` is the disk
    image for the service's data (made if absent), a temporary one if None. `closed`: the guest can
    be reached and reaches nobody. `driven` as for host_instance. `monitor`: the Unix socket of
    QEMU's own control (QMP); none if None.
    LacksError where this host cannot, ServiceError with the console's end where the guest fails.
    """
    how, kernel = image.plan.machine.how, image.kernel
    for wanted in publish:
        need_port(wanted)
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        disk = data or folder / "data.img"
        if not disk.exists():
            make_data_disk(disk, data_mib(image.plan))
        lock = stack.enter_context(locked_disk(disk))
        accelerator = accelerator or find_accelerator(kernel, how)
        memory = memory_mib or -(-image.plan.machine.memory_kib // 1024)
        forwards = [*publish, *_free_forwards(image, publish)]
        console = Console(on_text)
        stack.callback(console.close)
        ours, theirs = socket.socketpair()
        with theirs:
            control = Control(ours)
            stack.callback(control.close)
            words = [find_qemu(), *machine_words(how, accelerator.name), *console_words()]
            words += ["-m", str(memory), "-smp", str(image.plan.machine.processors)]
            words += device_words(
                how, image.root.absolute(), disk.absolute(), theirs.fileno(),
                durable=data is not None,
            )  # fmt: skip
            words += network_words(how, forwards, closed=closed)
            words += ["-kernel", str(kernel.absolute())]
            line = kernel_line(image, control=True, driven=driven, closed=closed)
            words += ["-append", " ".join([line, *clock_words(accelerator.name)])]
            words += ["-qmp", f"unix:{monitor},server=on,wait=off"] if monitor else []
            guest = Guest(words, console, theirs.fileno(), lock)
            stack.callback(guest.end)
        console.stop_writing()
        addresses = {f.port: f"{_reachable(f.host)}:{f.host_port}" for f in reversed(forwards)}
        instance = QemuInstance(image.plan.name, guest, control, console, addresses, None)
        instance.since, instance.memory_mib, instance.pid = guest.since, memory, guest.pid
        instance.accelerator, instance.data = accelerator, disk
        instance.await_started()
        widen_backlogs(guest.pid, [forward.host_port for forward in forwards])
        yield instance


class Guest:
    """The QEMU process, which keeps `descriptors` open."""

    def __init__(self, words: Sequence[str], console: Console, *descriptors: int) -> None:
        self.since = time.monotonic()
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=console.writing, stderr=console.writing,
            cwd="/", pass_fds=descriptors, start_new_session=True,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    def ended(self) -> int | None:
        """QEMU's exit status; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """End it at once if it still runs. Its disk is temporary, or is whole at any moment."""
        end_group(self._process)


def _free_forwards(image: Image, publish: Sequence[Publish]) -> list[Publish]:
    done = {wanted.port for wanted in publish}
    missing = [port for port in image.plan.service.ports if port not in done]
    return [Publish("127.0.0.1", free_port(), port) for port in missing]


def _reachable(host: str) -> str:
    """Where a published port is reached from here."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
