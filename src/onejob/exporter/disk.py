"""An image as a disk that boots it, in the formats of virtual machines too."""

import re
import uuid
from pathlib import Path

from onejob.base.process import find_tool, run_tool
from onejob.disk.device import new_raw, open_device
from onejob.disk.layout import exported_bytes
from onejob.disk.options import Options
from onejob.disk.write import write_disk
from onejob.exporter.form import Export
from onejob.model.image import Image

_LIMIT_S = 600
_NAMESPACE = uuid.UUID("6d0d3a52-6e0c-5a39-9e0e-0a8d3b1c7f11")


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


def identity(image: Image, name: str) -> str:
    """A GUID that is this image's alone."""
    text = f"{image.plan.name} {image.manifest.verity.root_hash} {name}"
    return str(uuid.uuid5(_NAMESPACE, text))


def make_disk(image: Image, target: Path, options: Options) -> None:
    """The whole disk at the new path `target`, sparse: same image, same bytes."""
    new_raw(target, exported_bytes(image))
    with open_device(target, write=True) as device:
        write_disk(image, device, options, uuid.UUID(identity(image, "disk")))


def steps(image: Image, name: str, form: str, options: Options) -> str:
    """How to boot it."""
    port = next(iter(image.plan.service.ports), 0)
    forward = f",hostfwd=tcp:127.0.0.1:8080-:{port}" if port else ""
    common = (
        "-machine q35 -m 256 -nodefaults -display none -serial stdio \\\n"
        f"        -netdev user,id=net{forward} -device virtio-net-pci,netdev=net"
    )
    return f"""\
With BIOS:

    qemu-system-x86_64 {common} \\
        -drive format={form},file={name}

With UEFI:

    cp /usr/share/OVMF/OVMF_VARS_4M.fd vars.fd
    qemu-system-x86_64 {common} \\
        -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \\
        -drive if=pflash,format=raw,file=vars.fd \\
        -drive format={form},file={name}

Or write it to the disk of a machine as the image was planned for (`{image.plan.machine.hardware}`).
The address in it is `ip={options.ip}`; another one takes another export (`--ip`).

| partition | what is on it |
|---|---|
| bios | the boot loader (GRUB) as a BIOS starts it |
| esp | the same as UEFI firmware starts it: `EFI/BOOT/BOOTX64.EFI` |
| state | which slot boots |
| boot-a, boot-b | kernel and command line of each slot, manifest, plan and profile |
| root-a, root-b | the root with its hash tree, by which each block is checked (dm-verity) |
| data | what the service keeps, if it keeps anything |

Slot A has the image. Slot B is empty, for the next one. The console says nothing until the
kernel does, but which slot is started.

{_secure_boot(options)}"""


def _secure_boot(options: Options) -> str:
    if options.certificate:
        return f"""\
Both EFI programs are signed, the boot loader and the kernel. Enrol `{options.certificate.name}` in
the firmware's `db` (its setup screen, or `virt-fw-vars --add-db OWNER-GUID
{options.certificate.name}`), and switch Secure Boot on: then nothing else starts, and the hash in
the kernel's program lets no other root be used. The state is not signed: who can write to the disk
can have the other slot started, and nothing that was not signed.
"""
    return """\
The EFI programs are not signed. For Secure Boot, make a key and export again with it:

    openssl req -new -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=onejob/ \\
        -keyout onejob.key -out onejob.pem
    onejob export IMAGE --to disk --key onejob.key --certificate onejob.pem
"""
