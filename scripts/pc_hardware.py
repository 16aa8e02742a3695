"""hardware/pc.json: the usual hardware of PCs and virtual machines in one.

Made of the component library (each component that a device asks for gives one such device) and of
the kernel's own drivers named below, by the catalogue. ``make hardware`` runs it.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from onejob.base.natives import cache_path
from onejob.builder.catalogue import make_catalogue
from onejob.cli.show import progress
from onejob.model.catalogue import Catalogue
from onejob.model.component import Component, load_components
from onejob.model.hardware import Device, Disk, Hardware, Processors

# Buses of PCs; of the others, virtio on memory is microvm's, and codecs belong to other systems.
BUSES = ("pci", "virtio", "xen", "vmbus", "platform", "cpu", "scsi", "acpi", "serio", "usb")
NOT_HERE = {"virtio-mmio", "virtio-vsock"}
# Modules of what else is usual, by machine rooms and clouds.
DRIVERS = {
    "ata_piix": "IDE of older PCs, and of virtual machines",
    "ena": "Amazon's virtual network card",
    "igc": "Intel's 2.5 Gbit/s network cards on mainboards",
    "ixgbe": "Intel's 10 Gbit/s network cards",
    "megaraid_sas": "RAID of servers",
    "mpt3sas": "SAS of servers",
    "mptspi": "VMware's LSI Logic disks",
    "r8169": "Realtek's network cards, on most mainboards",
    "tg3": "Broadcom's 1 Gbit/s network cards of servers",
    "vmw_pvscsi": "VMware's own disks",
    "vmxnet3": "VMware's own network card",
}
MOST_PROCESSORS = 64
LEAST_MEMORY_KIB = 512 * 1024


def concrete(pattern: str) -> str:
    """The shortest text that `pattern` (fnmatch(3)) matches."""
    return re.sub(r"\[(.)[^]]*\]", r"\1", pattern).replace("*", "").replace("?", "0")


def component_devices(components: tuple[Component, ...]) -> Iterator[Device]:
    """A device for each modalias that a component asks for."""
    for component in components:
        for pattern in component.asked_by.modaliases:
            bus = pattern.partition(":")[0].rstrip("*")
            if bus in BUSES and component.name not in NOT_HERE:
                yield Device(bus=bus, name=component.name, modalias=concrete(pattern))


def driver_devices(catalogue: Catalogue) -> Iterator[Device]:
    """A device for each module of DRIVERS."""
    known = {driver.module: driver for driver in catalogue.drivers}
    for module in DRIVERS:
        alias = min(known[module].aliases)
        yield Device(bus=alias.partition(":")[0], name=module, modalias=concrete(alias))


def make_pc(components: tuple[Component, ...], catalogue: Catalogue) -> Hardware:
    """All of it as one machine."""
    disks = {"sda": "usb", "vda": "virtio", "nvme0n1": "nvme", "sdb": "ata"}
    return Hardware(
        name="pc",
        architecture="x86_64",
        several=True,
        firmware="uefi",
        hypervisor="KVM",
        processors=Processors(count=MOST_PROCESSORS, model="any x86_64"),
        memory_kib=LEAST_MEMORY_KIB,
        disks=tuple(Disk(name=name, size_bytes=0, bus=bus) for name, bus in disks.items()),
        devices=(*component_devices(components), *driver_devices(catalogue)),
        consoles=("tty0", "ttyS0"),
    )


def main() -> None:
    """Write the file."""
    folder = Path(sys.argv[1])
    components = load_components(folder / "components")
    with progress() as shown:
        made = make_pc(components, make_catalogue(cache_path(), shown))
    target = folder / "hardware" / "pc.json"
    target.write_text(made.model_dump_json(indent=2, exclude_defaults=True) + "\n")


if __name__ == "__main__":
    main()
