"""Disks, network interfaces, consoles and every device on a bus, as the kernel lists them."""

import re
from typing import Literal

from onejob.model.hardware import Device, Disk, Interface
from onejob.survey.source import Source

# Block devices that are no hardware: made by a driver out of memory, files or other devices.
_NO_DISK = re.compile(r"^(loop|ram|zram|dm-|md|nbd|fd)\d*")
_OPTICAL = re.compile(r"^sr\d+$")
_SECTOR = 512  # /sys/block/*/size counts these, whatever the disk's own sector is
_BUSES = ("virtio", "pci", "usb", "acpi", "platform", "scsi", "xen", "vmbus", "nvme")
# What a disk's path in /sys goes through. USB and ATA disks have a SCSI host below.
_DISK_BUSES = (
    ("usb", r"/usb\d"),
    ("ata", r"/ata\d"),
    ("nvme", r"/nvme\d"),
    ("mmc", r"/mmc\d"),
    ("scsi", r"/host\d"),
    ("virtio", r"/virtio\d"),
)
# Their devices have functions of their own; on other buses, most have none and need no driver.
_BUSES_WITH_DRIVERS = ("pci", "virtio", "xen", "vmbus")
_BRIDGE = re.compile(r"bc06sc0[01]")  # PCI's host and ISA bridges: the kernel needs no driver


def survey_disks(source: Source) -> tuple[Disk, ...]:
    """Disks and optical drives, by name."""
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
                kind="optical" if _OPTICAL.match(name) else "disk",
                bus=_disk_bus(source.readlink(base)),
                model=source.read(f"{base}/device/model").strip(),
                serial=_serial(source, base),
            )
        )
    return tuple(disks)


def survey_interfaces(source: Source) -> tuple[Interface, ...]:
    """Interfaces with a device behind them; the rest (lo, veth, bridges) is software."""
    found = []
    for name in source.list("/sys/class/net"):
        base = f"/sys/class/net/{name}"
        if source.list(f"{base}/device"):
            mac = source.read(f"{base}/address").strip()
            own = source.read(f"{base}/addr_assign_type").strip() == "0"
            driver = _driver(source, f"{base}/device")
            found.append(
                Interface(
                    name=name, driver=driver, mac=mac if own else "", link=_link(source, base)
                )
            )
    return tuple(found)


def survey_devices(source: Source) -> tuple[Device, ...]:
    """Every device with a modalias, by bus."""
    found = []
    for bus in _BUSES:
        base = f"/sys/bus/{bus}/devices"
        for name in source.list(base):
            modalias = source.read(f"{base}/{name}/modalias").strip()
            if modalias:
                driver = _driver(source, f"{base}/{name}")
                found.append(Device(bus=bus, name=name, modalias=modalias, driver=driver))
    return tuple(found)


def survey_consoles(source: Source) -> tuple[str, ...]:
    """The consoles that the kernel writes to, the preferred one first (proc(5))."""
    rows = [line.split() for line in source.read("/proc/consoles").splitlines()]
    rows.sort(key=lambda row: "C" not in " ".join(row[2:3]))
    return tuple(row[0] for row in rows if row and row[0] not in ("tty0",))


def odd_devices(
    disks: tuple[Disk, ...], interfaces: tuple[Interface, ...], devices: tuple[Device, ...]
) -> list[str]:
    """What cannot be used or told as it is, a sentence each."""
    found = [f"disk {disk.name}: no medium" for disk in disks if not disk.size_bytes]
    found += [
        f"interface {interface.name}: it is not up, so it does not tell whether it has a link"
        for interface in interfaces
        if interface.link == "unknown"
    ]
    found += [
        f"{device.bus} device {device.name} ({device.modalias}): no driver has it"
        for device in devices
        if device.bus in _BUSES_WITH_DRIVERS
        if not device.driver and not _BRIDGE.search(device.modalias)
    ]
    return found


def _disk_bus(path: str) -> str:
    return next((bus for bus, part in _DISK_BUSES if re.search(part, path)), "")


def _serial(source: Source, base: str) -> str:
    """As virtio, NVMe and MMC tell it; of a SCSI or ATA disk its page 0x80 (SPC-4, 7.8.18)."""
    for path in (f"{base}/serial", f"{base}/device/serial"):
        if told := source.read(path):
            return _plain(told)
    return _plain(source.read(f"{base}/device/vpd_pg80")[4:])


def _plain(told: str) -> str:
    """What can be printed of it."""
    return "".join(char for char in told if char.isprintable()).strip()


def _link(source: Source, base: str) -> Literal["up", "down", "unknown"]:
    """The kernel answers EINVAL while the interface itself is down (sysfs-class-net)."""
    carrier = source.read(f"{base}/carrier").strip()
    return "up" if carrier == "1" else "down" if carrier == "0" else "unknown"


def _driver(source: Source, device: str) -> str:
    return source.readlink(f"{device}/driver").rpartition("/")[2]
