"""The Hardware: what the target machine has, with the kernel's own modalias strings. JSON."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from onejob.model.errors import InputError
from onejob.model.jsonfile import load_json
from onejob.model.noun import Noun

ARCHITECTURES = ("x86_64",)
Count = Annotated[int, Field(ge=0, le=2**62)]


class Processors(Noun):
    """`count` logical processors of one model."""

    count: Annotated[int, Field(ge=1, le=4096)]
    model: str
    vendor: str = ""
    features: tuple[str, ...] = ()


class Disk(Noun):
    """A block device with its size in bytes."""

    name: str
    size_bytes: Count
    driver: str = ""
    removable: bool = False
    rotational: bool = False


class Interface(Noun):
    """A network interface. `mac` is empty where it is not the hardware's own."""

    name: str
    driver: str = ""
    mac: str = ""


class Device(Noun):
    """A device on a bus; `modalias` is what the kernel matches drivers against."""

    bus: str
    name: str
    modalias: str
    driver: str = ""


class Hardware(Noun):
    """One machine. `how` says what runs it: bare metal or one of QEMU's machines."""

    format: Literal[1] = 1
    name: str
    architecture: str
    how: Literal["metal", "qemu-microvm", "qemu-q35"] = "metal"
    firmware: Literal["none", "bios", "uefi"]
    hypervisor: str = ""
    processors: Processors
    memory_kib: Annotated[int, Field(ge=1024, le=2**40)]
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    devices: tuple[Device, ...] = ()
    consoles: tuple[str, ...] = ()

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
