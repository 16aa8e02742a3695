"""A machine's hardware as a table: what, and which."""

from collections.abc import Iterator

from onejob.model.hardware import Disk, Hardware, Interface, Processors
from onejob.report.overview import Table


def hardware_table(found: Hardware) -> Table:
    """One row for each part."""
    title = f"{found.name} ({found.architecture})"
    return Table(title, ("what", "which"), tuple(_rows(found)))


def _rows(found: Hardware) -> Iterator[tuple[str, str]]:
    yield "processors", _processors(found.processors)
    yield "memory", f"{found.memory_kib // 1024} MiB"
    # One node is a machine without NUMA.
    for node in found.nodes if len(found.nodes) > 1 else ():
        memory = f"{node.memory_kib // 1024} MiB" if node.memory_kib else "no memory"
        yield f"node {node.number}", f"{memory}, processors {node.processors or 'none'}"
    for pages in found.huge_pages:
        yield f"huge pages of {pages.size_kib // 1024} MiB", f"{pages.count} set aside"
    yield "firmware", found.firmware
    if found.firmware == "uefi":
        yield "Secure Boot", found.secure_boot
    yield "hypervisor", found.hypervisor or "none"
    yield "consoles", ", ".join(found.consoles) or "none"
    for disk in found.disks:
        yield f"{'disk' if disk.kind == 'disk' else 'optical drive'} {disk.name}", _disk(disk)
    for interface in found.interfaces:
        yield f"interface {interface.name}", _interface(interface)
    without = sum(not device.driver for device in found.devices)
    count = f"{len(found.devices)} of {len(found.modaliases())} kinds (modaliases)"
    yield "devices", f"{count}, {without} without a driver"


def _processors(found: Processors) -> str:
    words = [f"{found.count} x {found.model or 'unnamed'}"]
    if found.sockets:
        words.append(f"{found.sockets} sockets" if found.sockets > 1 else "1 socket")
        words.append(f"{found.cores} cores" if found.cores > 1 else "1 core")
    words += [f"{kind.count} of type {kind.name}" for kind in found.kinds]
    return ", ".join(words)


def _disk(disk: Disk) -> str:
    size = f"{disk.size_bytes / 1e9:.2f} GB" if disk.size_bytes else "no medium"
    words = [size, disk.model, disk.bus, disk.driver and f"driver {disk.driver}"]
    words += ["removable"] * disk.removable + ["rotates"] * disk.rotational
    return ", ".join(word for word in words if word)


def _interface(interface: Interface) -> str:
    words = [interface.driver and f"driver {interface.driver}", interface.mac]
    words.append(f"link {interface.link}")
    return ", ".join(word for word in words if word)
