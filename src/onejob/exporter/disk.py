"""An image as a disk: GPT with an EFI system partition, two places for roots, and the data.

Sources: the UEFI specification 2.10, chapter 5 (GPT); sgdisk(8); the kernel's
Documentation/admin-guide/device-mapper/dm-init.rst.
"""

import re
import shutil
import uuid
from pathlib import Path
from typing import NamedTuple

from onejob.base.boot_line import boot_line
from onejob.base.data_disk import make_data_disk
from onejob.base.process import find_tool, run_tool
from onejob.disk.fat import MIB, make_esp
from onejob.disk.kernel_needs import Need, need_kernel
from onejob.disk.options import Options
from onejob.disk.unified_kernel import make_unified
from onejob.exporter.form import Export
from onejob.model.container import has_data
from onejob.model.image import Image

ESP_MIB = 64
DATA_MIB = 512
_SECTOR = 512
_FIRST_MIB = 1
_LAST_MIB = 1  # for the second table
_LIMIT_S = 600
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_NAMESPACE = uuid.UUID("6d0d3a52-6e0c-5a39-9e0e-0a8d3b1c7f11")

NEEDS = (
    Need(("EFI_STUB",), "the firmware starts it as an EFI program"),
    Need(("EFI_PARTITION",), "its root is a partition"),
    Need(("BLK_DEV_SD", "VIRTIO_BLK", "BLK_DEV_NVME"), "its root is on a disk"),
)


class Partition(NamedTuple):
    """`start` and `size` in MiB; `identity` is the partition's GUID."""

    name: str
    kind: str
    start: int
    size: int
    identity: str


def export_disk(image: Image, folder: Path, options: Options) -> Export:
    """Fill the new `folder` with NAME.raw."""
    make_disk(image, folder / f"{image.plan.name}.raw", options)
    return Export("disk image", steps(image, f"{image.plan.name}.raw", "raw", options))


def export_qcow2(image: Image, folder: Path, options: Options) -> Export:
    """The same disk in QEMU's format."""
    return _converted(image, folder, options, "qcow2")


def export_vmdk(image: Image, folder: Path, options: Options) -> Export:
    """The same disk in VMware's format."""
    return _converted(image, folder, options, "vmdk")


def _converted(image: Image, folder: Path, options: Options, form: str) -> Export:
    raw, target = folder / "disk.raw", folder / f"{image.plan.name}.{form}"
    make_disk(image, raw, options)
    tool = find_tool("qemu-img", "qemu-utils")
    run_tool([tool, "convert", "-f", "raw", "-O", form, raw, target], timeout=_LIMIT_S)
    raw.unlink()
    if form == "vmdk":
        _fix_content_id(target, image)
    return Export(f"disk image ({form})", steps(image, target.name, form, options))


def _fix_content_id(path: Path, image: Image) -> None:
    """The descriptor's CID, which qemu-img draws by lot."""
    with path.open("r+b") as file:
        head = file.read(64 * 1024)
        found = re.search(rb"\nCID=([0-9a-f]{8})\n", head)
        if found:
            file.seek(found.start(1))
            file.write(image.manifest.verity.root_hash[:8].encode())


def partitions(image: Image) -> tuple[Partition, ...]:
    """Where everything lies. Both places for roots have room for one twice as large."""
    root = max(16, -(-2 * image.root.stat().st_size // MIB))
    wanted = [("esp", _ESP, ESP_MIB), ("root-a", _LINUX, root), ("root-b", _LINUX, root)]
    if has_data(image.plan):
        wanted.append(("data", _LINUX, DATA_MIB))
    found, start = [], _FIRST_MIB
    for name, kind, size in wanted:
        found.append(Partition(name, kind, start, size, identity(image, name)))
        start += size
    return tuple(found)


def identity(image: Image, name: str) -> str:
    """A GUID that is this image's alone."""
    text = f"{image.plan.name} {image.manifest.verity.root_hash} {name}"
    return str(uuid.uuid5(_NAMESPACE, text))


def make_disk(image: Image, target: Path, options: Options) -> None:
    """The whole disk at the new path `target`, sparse: same image, same bytes."""
    need_kernel(image, "a disk", NEEDS, "qemu-q35-uefi")
    places = partitions(image)
    total = places[-1].start + places[-1].size + _LAST_MIB
    with target.open("xb") as file:
        file.truncate(total * MIB)
    write_table(image, target, places)
    by_name = {place.name: place for place in places}
    scratch = target.with_name(".scratch")
    scratch.mkdir()
    unified = scratch / "unified.efi"
    make_unified(
        image.kernel, disk_line(image, by_name, options), image.plan.name, unified, options
    )
    make_esp(unified, scratch / "esp", ESP_MIB)
    put(scratch / "esp", target, by_name["esp"])
    put(image.root, target, by_name["root-a"])
    if "data" in by_name:
        make_data_disk(scratch / "data", DATA_MIB, by_name["data"].identity)
        put(scratch / "data", target, by_name["data"])
    shutil.rmtree(scratch)


def write_table(image: Image, target: Path, places: tuple[Partition, ...]) -> None:
    """The GPT, with all its GUIDs given."""
    words = [find_tool("sgdisk", "gdisk"), "--clear", f"--disk-guid={identity(image, 'disk')}"]
    for number, place in enumerate(places, start=1):
        first = place.start * MIB // _SECTOR
        last = (place.start + place.size) * MIB // _SECTOR - 1
        words += [f"--new={number}:{first}:{last}", f"--typecode={number}:{place.kind}"]
        words += [f"--change-name={number}:{place.name}"]
        words += [f"--partition-guid={number}:{place.identity}"]
    run_tool([*words, str(target)], timeout=_LIMIT_S)


def put(source: Path, target: Path, place: Partition) -> None:
    """Copy `source` to its partition; what is zero stays a hole."""
    with source.open("rb") as content, target.open("r+b") as disk:
        at = place.start * MIB
        while block := content.read(MIB):
            if block.strip(b"\0"):
                disk.seek(at)
                disk.write(block)
            at += len(block)


def disk_line(image: Image, places: dict[str, Partition], options: Options) -> str:
    """Root and data are found by their partitions' GUIDs, whatever the disk is called there.

    Process 1 knows devices by name only, so the kernel makes one of the data partition, too.
    """
    root = f"PARTUUID={places['root-a'].identity}"
    more, after = [f"ip={options.ip}"], []
    if "data" in places:
        data = f"PARTUUID={places['data'].identity}"
        sectors = places["data"].size * MIB // _SECTOR
        after.append(f"data,,,rw,0 {sectors} linear {data} 0")
        more.append("ONEJOB_DATA=/dev/dm-1")
    return boot_line(image, root, more, after=after)


def steps(image: Image, name: str, form: str, options: Options) -> str:
    """How to boot it."""
    port = next(iter(image.plan.service.ports), 0)
    forward = f",hostfwd=tcp:127.0.0.1:8080-:{port}" if port else ""
    return f"""\
    cp /usr/share/OVMF/OVMF_VARS_4M.fd vars.fd
    qemu-system-x86_64 -machine q35 -m 256 -nodefaults -no-reboot -display none -serial stdio \\
        -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \\
        -drive if=pflash,format=raw,file=vars.fd \\
        -drive format={form},file={name} \\
        -netdev user,id=net{forward} -device virtio-net-pci,netdev=net

Or write it to the disk of a machine as the image was planned for (`{image.plan.machine.hardware}`).
UEFI firmware starts it. The address in it is `ip={options.ip}`;
another one takes another export (`--ip`).

| partition | what is on it |
|---|---|
| esp | `EFI/BOOT/BOOTX64.EFI`: kernel and command line as one EFI program |
| root-a | the root with its hash tree, by which each block is checked (dm-verity) |
| root-b | empty: for the next root |
| data | what the service keeps, if it keeps anything |

{_secure_boot(options)}"""


def _secure_boot(options: Options) -> str:
    if options.certificate:
        return f"""\
The EFI program is signed. Enrol `{options.certificate.name}` in the firmware's `db` (its setup
screen, or `virt-fw-vars --add-db OWNER-GUID {options.certificate.name}`), and switch Secure Boot
on: then nothing else starts, and the hash in the program lets no other root be used.
"""
    return """\
The EFI program is not signed. For Secure Boot, make a key and export again with it:

    openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=onejob/ \\
        -keyout onejob.key -out onejob.pem
    onejob export IMAGE --to disk --key onejob.key --certificate onejob.pem
"""
