"""Machine -> Hardware: processors, memory, disks, interfaces, buses, as the kernel lists them."""

import re
from typing import Literal

from onejob.model.errors import LacksError
from onejob.model.hardware import Device, Disk, Hardware, Interface, Processors
from onejob.survey.source import Source

# Block devices that are no hardware: made by a driver out of memory, files or other devices.
_NO_DISK = re.compile(r"^(loop|ram|zram|dm-|md|nbd|sr|fd)\d*")
_MIB = 1 << 20
_SECTOR = 512  # /sys/block/*/size counts these, whatever the disk's own sector is
_BUSES = ("virtio", "pci", "usb", "acpi", "platform", "scsi", "xen", "vmbus", "nvme")


def survey_machine(
    source: Source,
    name: str,
    architecture: str,
    how: Literal["metal", "qemu-microvm", "qemu-q35"] = "metal",
) -> Hardware:
    """What the machine behind `source` has. LacksError where /proc or /sys is not there."""
    processors = _processors(source)
    memory_kib = _memory_kib(source)
    if processors is None or not memory_kib or not source.list("/sys/bus"):
        raise LacksError("/proc and /sys are not readable", "mount them, or survey from outside")
    return Hardware(
        name=name,
        architecture=architecture,
        how=how,
        firmware=_firmware(source),
        hypervisor=_hypervisor(source, processors),
        processors=processors,
        memory_kib=memory_kib,
        disks=_disks(source),
        interfaces=_interfaces(source),
        devices=_devices(source),
        consoles=_consoles(source),
    )


def _memory_kib(source: Source) -> int:
    """Installed memory: the kernel's map of it in whole MiB, firmware's own share included.

    Without the right to see the map's addresses, what the kernel has left of it (proc(5)).
    """
    ranges = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$", source.read("/proc/iomem"), re.M)
    size = sum(int(last, 16) - int(first, 16) + 1 for first, last in ranges)
    if size > _MIB:
        return -(-size // _MIB) * 1024
    total = re.search(r"^MemTotal:\s+(\d+) kB", source.read("/proc/meminfo"), re.M)
    return int(total[1]) if total else 0


def _processors(source: Source) -> Processors | None:
    blocks = source.read("/proc/cpuinfo").strip().split("\n\n")
    first = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in blocks[0].splitlines())
    }
    if "processor" not in first:
        return None
    return Processors(
        count=len(blocks),
        model=first.get("model name", ""),
        vendor=first.get("vendor_id", ""),
        features=tuple(sorted(first.get("flags", "").split())),
    )


def _firmware(source: Source) -> Literal["none", "bios", "uefi"]:
    if source.list("/sys/firmware/efi"):
        return "uefi"
    # A machine without firmware tables (microvm) has nobody who would have left them.
    has_tables = bool(source.list("/sys/firmware/acpi") or source.list("/sys/class/dmi/id"))
    return "bios" if has_tables else "none"


def _hypervisor(source: Source, processors: Processors) -> str:
    if kind := source.read("/sys/hypervisor/type").strip():
        return kind
    vendor = source.read("/sys/class/dmi/id/sys_vendor").strip()
    return (vendor or "unknown") if "hypervisor" in processors.features else ""


def _disks(source: Source) -> tuple[Disk, ...]:
    disks = []
    for name in source.list("/sys/block"):
        base = f"/sys/block/{name}"
        # Hidden: one path of several to a disk that has an entry of its own (NVMe multipath).
        if _NO_DISK.match(name) or source.read(f"{base}/hidden").strip() == "1":
            continue
        disks.append(
            Disk(
                name=name,
                size_bytes=int(source.read(f"{base}/size").strip() or 0) * _SECTOR,
                driver=_driver(source, f"{base}/device"),
                removable=source.read(f"{base}/removable").strip() == "1",
                rotational=source.read(f"{base}/queue/rotational").strip() == "1",
            )
        )
    return tuple(disks)


def _interfaces(source: Source) -> tuple[Interface, ...]:
    """Interfaces with a device behind them; the rest (lo, veth, bridges) is software."""
    found = []
    for name in source.list("/sys/class/net"):
        base = f"/sys/class/net/{name}"
        if source.list(f"{base}/device"):
            mac = source.read(f"{base}/address").strip()
            own = source.read(f"{base}/addr_assign_type").strip() == "0"
            driver = _driver(source, f"{base}/device")
            found.append(Interface(name=name, driver=driver, mac=mac if own else ""))
    return tuple(found)


def _devices(source: Source) -> tuple[Device, ...]:
    found = []
    for bus in _BUSES:
        base = f"/sys/bus/{bus}/devices"
        for name in source.list(base):
            modalias = source.read(f"{base}/{name}/modalias").strip()
            if modalias:
                driver = _driver(source, f"{base}/{name}")
                found.append(Device(bus=bus, name=name, modalias=modalias, driver=driver))
    return tuple(found)


def _consoles(source: Source) -> tuple[str, ...]:
    """The consoles that the kernel writes to, the preferred one first (proc(5))."""
    rows = [line.split() for line in source.read("/proc/consoles").splitlines()]
    rows.sort(key=lambda row: "C" not in " ".join(row[2:3]))
    return tuple(row[0] for row in rows if row and row[0] not in ("tty0",))


def _driver(source: Source, device: str) -> str:
    return source.readlink(f"{device}/driver").rpartition("/")[2]
