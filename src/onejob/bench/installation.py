"""An installation in QEMU: the medium and an empty disk, the machine off and on, the disk alone.

Nobody is there: the medium has an answer file, and the machine does what it does by itself.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from onejob.base.progress import Quiet
from onejob.bench.bare import BareInstance, bare_instance
from onejob.disk.options import Options
from onejob.exporter.export import export_image
from onejob.model.errors import LacksError, ServiceError
from onejob.model.image import Image
from onejob.system.guest import console_words, machine_words, network_words
from onejob.system.network import Publish, free_port

OVMF = Path("/usr/share/ovmf/OVMF.fd")
DISK_BYTES = 4 * 10**9
MEMORY_MIB = 1024
_ANSWERS = """\
service = "{name}"

[disk]
size_gb = {gigabytes}
erase = true

[network]
ip = "10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"
"""
# What QEMU wants to know of a device besides its drive.
_ATTACHED = {"ide-hd": ",bus=ide.0", "ide-cd": ",bus=ide.1", "nvme": ",serial=onejob"}
_LOOK_S = 0.1


class Machine(NamedTuple):
    """A kind of PC: its firmware (bios or uefi), how its disk is attached, its network card.

    `disk` and `card` are QEMU's names of devices. `stick`: the medium is one on USB, not a CD.
    """

    firmware: str
    disk: str
    card: str
    stick: bool = False

    def __str__(self) -> str:
        medium = "stick" if self.stick else "CD"
        return f"{self.firmware}, {self.disk}, {self.card}, {medium}"


SERVER = Machine("bios", "virtio-blk-pci", "virtio-net-pci")
DESKTOP = Machine("uefi", "ide-hd", "e1000e")


def make_medium(installer: Image, kit: Path, trust: Path, name: str, folder: Path) -> Path:
    """The medium in the new `folder`: it installs the service `name` without a question."""
    answers = folder.with_suffix(".toml")
    answers.write_text(_ANSWERS.format(name=name, gigabytes=DISK_BYTES // 10**9))
    options = Options(kit=kit, trust=trust, answers=answers)
    export_image(installer, "installer-iso", folder, Quiet(), options)
    return folder / f"{installer.plan.name}.iso"


def new_disk(path: Path) -> Path:
    """An empty disk, sparse."""
    with path.open("xb") as file:
        file.truncate(DISK_BYTES)
    return path


def words(
    machine: Machine, disk: Path, medium: Path | None, forwards: Sequence[Publish]
) -> list[str]:
    """QEMU's command line without its program: `machine` with `disk`, and `medium` to start from.

    LacksError where UEFI is wanted and its firmware is not there.
    """
    found = [*machine_words("qemu-q35", "tcg"), *console_words(), "-m", str(MEMORY_MIB)]
    if machine.firmware == "uefi":
        if not OVMF.exists():
            raise LacksError(f"UEFI firmware {OVMF} is not here", "apt-get install ovmf")
        found += ["-bios", str(OVMF)]
    # A BIOS does not go from one disk on to the next, which is what a stick is to it.
    disk_order, medium_order = (2, 1) if machine.stick and machine.firmware == "bios" else (1, 2)
    found += _drive("disk", disk, machine.disk, "cache=unsafe,", disk_order)
    if medium is not None and machine.stick:
        found += [
            "-device",
            "qemu-xhci",
            *_drive("medium", medium, "usb-storage", "snapshot=on,", medium_order),
        ]
    elif medium is not None:
        found += _drive("medium", medium, "ide-cd", "snapshot=on,", medium_order)
    *user, _, card = network_words("qemu-q35", forwards, closed=True)
    return [*found, *user, "-device", card.replace("virtio-net-pci", machine.card)]


def _drive(name: str, path: Path, device: str, options: str, order: int) -> list[str]:
    """`order`: when firmware looks at it."""
    file = str(path.absolute()).replace(",", ",,")
    attached = f"{device},drive={name},bootindex={order}{_ATTACHED.get(device, '')}"
    return ["-drive", f"id={name},if=none,format=raw,{options}file={file}", "-device", attached]


def install(machine: Machine, disk: Path, medium: Path, within: float) -> tuple[float, str]:
    """Start `machine` from `medium` until it starts again: since when, and what it said.

    ServiceError where it has not within `within` seconds.
    """
    with bare_instance("installer", words(machine, disk, medium, ()), ()) as guest:
        while guest.runner.ended() is None:
            if time.monotonic() - guest.since > within:
                said = guest.target.console.last_lines(40)
                raise ServiceError(
                    f"the installer has not ended after {within:.0f} s; it said:\n{said}"
                )
            time.sleep(_LOOK_S)
        guest.target.console.drain(5)
        if guest.runner.ended():
            raise ServiceError(f"the machine failed:\n{guest.target.console.last_lines()}")
        return guest.since, guest.target.console.text()


@contextmanager
def installed(machine: Machine, disk: Path, ports: Sequence[int]) -> Iterator[BareInstance]:
    """The same machine started from its disk."""
    forwards = [Publish("127.0.0.1", free_port(), port) for port in ports]
    with bare_instance("installed", words(machine, disk, None, forwards), forwards) as guest:
        yield guest
