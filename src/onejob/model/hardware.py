"""The Hardware: what the target machine has, with the kernel's own modalias strings. JSON."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from onejob.model.errors import InputError
from onejob.model.jsonfile import load_json
from onejob.model.noun import Noun

ARCHITECTURES = ("x86_64",)
Count = Annotated[int, Field(ge=0, le=2**62)]


class ProcessorKind(Noun):
    """`count` logical processors of one type, where a machine has several (``core``, ``atom``)."""

    name: str
    count: Count


class Processors(Noun):
    """`count` logical processors, those in use; `sockets` and `cores` are 0 where nobody says."""

    count: Annotated[int, Field(ge=1, le=4096)]
    model: str
    vendor: str = ""
    features: tuple[str, ...] = ()
    sockets: Count = 0
    cores: Count = 0
    kinds: tuple[ProcessorKind, ...] = ()


class MemoryNode(Noun):
    """One NUMA node: its memory in KiB and its processors in the list format of cpuset(7)."""

    number: Count
    memory_kib: Count
    processors: str = ""


class HugePages(Noun):
    """A size of huge pages that the kernel offers, in KiB, and how many are set aside."""

    size_kib: Count
    count: Count = 0


class Disk(Noun):
    """A block device with its size in bytes, 0 without a medium.

    `bus` is what it hangs on (``nvme``, ``ata``, ``usb``, ``mmc``, ``scsi``, ``virtio``), empty
    where the kernel's path to the device has none of these. `serial` is empty where nobody tells.
    """

    name: str
    size_bytes: Count
    driver: str = ""
    removable: bool = False
    rotational: bool = False
    kind: Literal["disk", "optical"] = "disk"
    bus: str = ""
    model: str = ""
    serial: str = ""


class Interface(Noun):
    """A network interface. `mac` is empty where it is not the hardware's own."""

    name: str
    driver: str = ""
    mac: str = ""
    link: Literal["up", "down", "unknown"] = "unknown"


class Device(Noun):
    """A device on a bus; `modalias` is what the kernel matches drivers against."""

    bus: str
    name: str
    modalias: str
    driver: str = ""


class Hardware(Noun):
    """One machine. `how` says what runs it: bare metal or one of QEMU's machines.

    `unclear` has a sentence for each thing that could not be found out, or that is odd.
    `several`: it is no single machine but what several have, together. A system for it starts on
    each of them, with one processor or up to all, and says its words on every console there is.
    """

    format: Literal[1] = 1
    name: str
    architecture: str
    several: bool = False
    how: Literal["metal", "qemu-microvm", "qemu-q35"] = "metal"
    firmware: Literal["none", "bios", "uefi"]
    secure_boot: Literal["on", "off", "absent", "unknown"] = "unknown"
    hypervisor: str = ""
    processors: Processors
    memory_kib: Annotated[int, Field(ge=1024, le=2**40)]
    nodes: tuple[MemoryNode, ...] = ()
    huge_pages: tuple[HugePages, ...] = ()
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    devices: tuple[Device, ...] = ()
    consoles: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    def modaliases(self) -> tuple[str, ...]:
        """Every distinct modalias, sorted."""
        return tuple(sorted({device.modalias for device in self.devices if device.modalias}))


def load_hardware(path: Path) -> Hardware:
    """Read a hardware file; InputError for one of an architecture that onejob cannot build for."""
    hardware = load_json(path, Hardware, "hardware file")
    if hardware.architecture not in ARCHITECTURES:
        raise InputError(
            f"hardware file {path}: architecture {hardware.architecture!r}",
            f"onejob builds for {', '.join(ARCHITECTURES)}; survey such a machine",
        )
    return hardware
