"""An installer's image as a medium: the bootable CD and USB stick, with a kit in its file system.

The kit is a repository (onejob push): images and kernels, signed. Its root.json, which vouches for
it, is on the medium, and its hash in the command line, which firmware checks where the medium is
signed.
"""

import hashlib
from pathlib import Path

from onejob.disk.kernel_needs import Need, need_kernel
from onejob.disk.options import Options
from onejob.exporter.form import Export
from onejob.exporter.iso import NEEDS, Medium, write_iso
from onejob.model.errors import InputError
from onejob.model.image import Image

KIT = "onejob"
_NEEDS = (*NEEDS, Need(("ISO9660_FS",), "the kit is in the file system of the medium"))
_PARTS = ("metadata", "targets")


def export_installer_iso(image: Image, folder: Path, options: Options) -> Export:
    """Fill the new `folder` with NAME.iso: it boots `image`, and carries the kit of `options`.

    InputError where the image is none that installs, or the kit no repository.
    """
    if image.plan.job is None or options.kit is None or options.trust is None:
        raise InputError(
            f"image {image.folder}: an installer is a job, with a kit and what vouches for it",
            "onejob export INSTALLER.onejob --to installer-iso --kit REPOSITORY --trust root.json",
        )
    need_kernel(image, "an installer's medium", _NEEDS, "pc")
    files = kit_files(options.kit, options.trust, options.answers)
    trust = hashlib.sha256(options.trust.read_bytes()).hexdigest()
    target = folder / f"{image.plan.name}.iso"
    write_iso(image, target, options, Medium(files, (f"onejob.trust={trust}",)))
    return Export("installer: bootable CD and USB stick", steps(target.name))


def kit_files(kit: Path, trust: Path, answers: Path | None) -> dict[str, Path]:
    """What the medium has besides, by its path there."""
    files = {f"{KIT}/{part}": kit / part for part in _PARTS}
    for path in files.values():
        if not path.is_dir():
            raise InputError(f"kit {kit}: it has no {path.name}", "make one: onejob push --create")
    return {
        **files,
        f"{KIT}/root.json": trust,
        **({f"{KIT}/answers.toml": answers} if answers else {}),
    }


def steps(name: str) -> str:
    """How to boot it."""
    return f"""\
Try it on an empty disk of a virtual machine, with BIOS or (`-bios /usr/share/ovmf/OVMF.fd`) UEFI:

    truncate -s 2G disk.raw
    qemu-system-x86_64 -machine q35 -m 1024 -nodefaults -display none -serial stdio -no-reboot \\
        -cdrom {name} -drive file=disk.raw,format=raw,if=virtio

Or burn it, or write it to a USB stick (`dd if={name} of=/dev/sdX bs=4M`). Questions come on the
screen and on the first serial port, unless the medium has an answer file. When the machine starts
again, take the medium out.
"""
