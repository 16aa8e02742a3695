"""An image for Firecracker: kernel, root and data as it takes them, and its configuration.

Sources: Firecracker's API description (src/firecracker/swagger/firecracker.yaml) and
docs/getting-started.md, docs/kernel-policy.md, docs/network-setup.md.
"""

import shutil
import uuid
from pathlib import Path
from typing import Any

from onejob.base.boot_line import boot_line
from onejob.base.data_disk import data_mib, make_data_disk
from onejob.disk.kernel_needs import Need, need_kernel
from onejob.disk.options import Options
from onejob.exporter.form import Export, to_text
from onejob.exporter.vmlinux import unpack_kernel
from onejob.model.container import has_data
from onejob.model.image import Image

CONFIG = "firecracker.json"
KERNEL, ROOT, DATA = "vmlinux", "root.img", "data.img"
HOST, GUEST, MASK, PREFIX = "172.16.0.1", "172.16.0.2", "255.255.255.252", 30
_MAC = "06:00:ac:10:00:02"  # docs/network-setup.md: the guest's address is in it
_ROOT_DEVICE, _DATA_DEVICE = "/dev/vda", "/dev/vdb"

NEEDS = (
    Need(("VIRTIO_MMIO",), "its devices are virtio on memory"),
    Need(("ACPI", "VIRTIO_MMIO_CMDLINE_DEVICES"), "it names its devices so"),
    Need(("ACPI", "X86_MPPARSE"), "it names its processors and interrupts so"),
    Need(("VIRTIO_BLK",), "its disks are such"),
    Need(("VIRTIO_NET",), "its network interfaces are such"),
    Need(("SERIAL_8250_CONSOLE",), "its console is such a port"),
)


def export_firecracker(image: Image, folder: Path, _options: Options) -> Export:
    """Fill the new `folder`."""
    plan = image.plan
    need_kernel(image, "Firecracker", NEEDS, "qemu-microvm")
    (folder / KERNEL).write_bytes(unpack_kernel(image.kernel))
    shutil.copyfile(image.root, folder / ROOT)
    if has_data(plan):
        identity = str(uuid.UUID(image.manifest.verity.root_hash[:32], version=4))
        make_data_disk(folder / DATA, data_mib(plan), identity)
    (folder / CONFIG).write_text(to_text(configuration(image)))
    tap = tap_name(image)
    ports = "".join(f"    curl http://{GUEST}:{port}/\n" for port in plan.service.ports[:1])
    steps = f"""\
    ip tuntap add {tap} mode tap && ip addr add {HOST}/{PREFIX} dev {tap} && ip link set {tap} up
    firecracker --no-api --config-file {CONFIG}

Run it in this folder. The guest is {GUEST}:

{ports}
It boots read-only from `{ROOT}`, each block checked by its hash (dm-verity). What the service
keeps is on `{DATA}`, which belongs to this one instance. With other addresses, change `ip=` in
`{CONFIG}` (the kernel's Documentation/admin-guide/nfs/nfsroot.rst).
"""
    return Export("Firecracker microVM", steps)


def tap_name(image: Image) -> str:
    """Of the host's end of the network; at most 15 characters."""
    return f"tap-{image.plan.name}"[:15]


def configuration(image: Image) -> dict[str, Any]:
    """What ``--config-file`` takes. The root is no "root device": that is dm-verity's on top."""
    plan = image.plan
    more = [f"ip={GUEST}::{HOST}:{MASK}::eth0:off"]
    drives = [_drive("root", ROOT, read_only=True)]
    if has_data(plan):
        more.append(f"ONEJOB_DATA={_DATA_DEVICE}")
        drives.append(_drive("data", DATA, read_only=False))
    interface = {"iface_id": "eth0", "guest_mac": _MAC, "host_dev_name": tap_name(image)}
    return {
        "boot-source": {
            "kernel_image_path": KERNEL,
            "boot_args": boot_line(image, _ROOT_DEVICE, more),
        },
        "drives": drives,
        "machine-config": {
            "vcpu_count": plan.machine.processors,
            "mem_size_mib": -(-plan.machine.memory_kib // 1024),
        },
        "network-interfaces": [interface],
    }


def _drive(name: str, path: str, *, read_only: bool) -> dict[str, Any]:
    """`Writeback`: what the guest has flushed survives the host's power cut."""
    return {
        "drive_id": name,
        "path_on_host": path,
        "is_root_device": False,
        "is_read_only": read_only,
        **({} if read_only else {"cache_type": "Writeback"}),
    }
