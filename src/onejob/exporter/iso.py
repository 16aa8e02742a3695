"""An image as a CD: firmware of both kinds starts it, and from a USB stick too; all is read-only.

Sources: xorrisofs(1) (hybrid images, -append_partition, --grub2-mbr); the UEFI
specification 2.10, 13.3.2 (El Torito). A CD has no partitions for the kernel, a stick has; so the
root lies behind the file system as a partition, and each medium has a command line of its own.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from onejob.base.boot_line import boot_line
from onejob.base.process import find_tool, run_tool
from onejob.disk.command_line import grub_words
from onejob.disk.fat import MIB, make_esp
from onejob.disk.grub import MEDIUM_SECTOR, make_medium_loader
from onejob.disk.kernel_needs import Need, need_kernel
from onejob.disk.options import Options
from onejob.disk.unified_kernel import make_unified
from onejob.exporter.disk import identity
from onejob.exporter.form import Export
from onejob.model.container import has_data
from onejob.model.errors import BuildError
from onejob.model.image import Image
from onejob.model.plan import LEAST_DATA_MIB, Plan

# A quarter of the least disk for data: the plan asks for four times what there was.
LEAST_DATA_KIB = LEAST_DATA_MIB * 1024 // 4
_ROOM_MIB = 256
_LIMIT_S = 300
_EPOCH = 315619200
_FILES_PARTITION, _ROOT_PARTITION = 1, 3
_SECTOR = 512

NEEDS = (
    Need(("BLK_DEV_SR",), "its root is on a CD"),
    Need(("EFI_STUB",), "the firmware starts it as an EFI program"),
    Need(("EFI_PARTITION",), "on a stick, its root is a partition"),
)


class Place(NamedTuple):
    """Where the root lies: its first sector of 512 bytes, and its partition's GUID.

    `files` and `files_sectors`: the partition with the file system's files.
    """

    sector: int
    identity: str
    files: int = 0
    files_sectors: int = 0


class Medium(NamedTuple):
    """What else is in the file system, by its path there, and the words that tell the system."""

    files: Mapping[str, Path] = MappingProxyType({})
    words: tuple[str, ...] = ()


EMPTY = Medium()


def export_iso(image: Image, folder: Path, options: Options) -> Export:
    """Fill the new `folder` with NAME.iso.

    Made twice: where the root lies is known afterwards, and says no word longer than before.
    """
    need_kernel(image, "a CD", NEEDS, "qemu-q35-uefi")
    target = folder / f"{image.plan.name}.iso"
    write_iso(image, target, options)
    return Export("bootable CD and USB stick", steps(image, target.name))


def write_iso(image: Image, target: Path, options: Options, medium: Medium = EMPTY) -> None:
    """Make the new file `target`, which boots `image`; the file system has `medium` besides."""
    make_iso(image, target, Place(0, identity(image, "nowhere")), options, medium)
    place = root_place(target)
    target.unlink()
    make_iso(image, target, place, options, medium)
    if root_place(target) != place:
        raise BuildError(f"{target}: the root moved while its place was written down")


def make_iso(image: Image, target: Path, place: Place, options: Options, medium: Medium) -> None:
    """The whole medium, with command lines that say that the root is at `place`."""
    stage = target.with_name(".stage")
    (stage / "loader").mkdir(parents=True)
    shutil.copyfile(image.kernel, stage / "kernel")
    for name, source in medium.files.items():
        copy_to(source, stage / name)
    lines = {
        "cd": cd_line(image, place, options, medium),
        "stick": stick_line(image, place, options, medium),
    }
    machine = image.plan.machine
    make_medium_loader(machine.consoles or (machine.console,), stage / "loader/bios.img")
    for name, line in lines.items():
        (stage / f"loader/{name}.cfg").write_text(f"linux /kernel {grub_words(line)}\n")
    firmware = {name: target.with_name(f".{name}.esp") for name in lines}
    for name, line in lines.items():
        unified = target.with_name(".unified.efi")
        make_unified(image.kernel, line, image.plan.name, unified, options)
        make_esp(unified, firmware[name], unified.stat().st_size // MIB + 2)
        unified.unlink()
    shutil.move(firmware["cd"], stage / "efi.img")
    for path in (*stage.rglob("*"), stage):
        os.utime(path, (_EPOCH, _EPOCH))
    run_tool(
        xorriso_words(image, stage, firmware["stick"], target), timeout=_LIMIT_S,
        environment={**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH), "TZ": "UTC"},
    )  # fmt: skip
    firmware["stick"].unlink()
    shutil.rmtree(stage)


def copy_to(source: Path, target: Path) -> None:
    """A file, or a folder with all that is in it; readable, whoever made it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target)


def xorriso_words(image: Image, stage: Path, stick: Path, target: Path) -> list[str | Path]:
    """El Torito for both firmwares, the stick's two partitions, a boot sector for BIOS sticks."""
    return [
        find_tool("xorriso", "xorriso"), "-as", "mkisofs", "-quiet", "-r", "-V", "ONEJOB",
        "--gpt_disk_guid", identity(image, "iso").replace("-", ""),
        "-b", "loader/bios.img", "-c", "loader/boot.cat", "-no-emul-boot",
        "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info",
        "--grub2-mbr", MEDIUM_SECTOR, "--mbr-force-bootable",
        "-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot",
        "-append_partition", "2", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", stick,
        "-append_partition", str(_ROOT_PARTITION), "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
        image.root, "-appended_part_as_gpt", "-o", target, stage,
    ]  # fmt: skip


def root_place(target: Path) -> Place:
    """Where xorriso has put the root, by the medium's own partition table."""
    sgdisk, found = find_tool("sgdisk", "gdisk"), []
    for number in (_FILES_PARTITION, _ROOT_PARTITION):
        said = run_tool([sgdisk, f"--info={number}", str(target)], timeout=_LIMIT_S)
        first = re.search(r"First sector: (\d+)", said)
        last = re.search(r"Last sector: (\d+)", said)
        guid = re.search(r"Partition unique GUID: ([0-9A-Fa-f-]{36})", said)
        if first is None or last is None or guid is None:
            raise BuildError(f"{target} has no partition {number}")
        found.append((int(first[1]), int(last[1]), guid[1].lower()))
    (start, end, _), (sector, _, identity) = found
    return Place(sector, identity, start, end + 1 - start)


def cd_line(image: Image, place: Place, options: Options, medium: Medium = EMPTY) -> str:
    """A drive has no partitions, so a device of the root's part of the medium comes first.

    It holds the drive; so where the file system is to be mounted it is a device, too.
    """
    sectors = image.root.stat().st_size // _SECTOR
    drive = f"medium,,,ro,0 {sectors} linear /dev/sr0 {place.sector:010d}"
    more = ["dm-mod.waitfor=/dev/sr0", *_more(image, options, medium)]
    # Of a fixed length, as the place is not known at first; zeros in front would make it octal.
    files = [f"files,,,ro,0 {place.sector:#010x} linear /dev/sr0 0"] if medium.files else []
    return boot_line(image, "/dev/dm-0", more, before=[drive], after=files)


def stick_line(image: Image, place: Place, options: Options, medium: Medium = EMPTY) -> str:
    """On a stick the root is a partition, and the file system begins before the first of them.

    What stands there is the boot sector alone: so a device that is to be mounted has the beginning
    of that partition for it, and everything else at its place.
    """
    root = f"PARTUUID={place.identity}"
    first = f"{root}/PARTNROFF={_FILES_PARTITION - _ROOT_PARTITION}"
    start, sectors = f"{place.files:#06x}", f"{place.files_sectors:#010x}"
    files = f"files,,,ro,0 {start} linear {first} 0,{start} {sectors} linear {first} 0"
    more = _more(image, options, medium)
    return boot_line(image, root, more, after=[files] if medium.files else [])


def _more(image: Image, options: Options, medium: Medium) -> list[str]:
    kib = data_kib(image.plan)
    data = [f"ONEJOB_DATA=tmpfs:{kib}"] if kib else []
    return [f"ip={options.ip}", *data, *medium.words]


def data_kib(plan: Plan) -> int:
    """How much memory the data may take; process 1 refuses a machine that has not as much more."""
    return max(LEAST_DATA_KIB, plan.data_kib) if has_data(plan) else 0


def steps(image: Image, name: str) -> str:
    """How to boot it."""
    port = next(iter(image.plan.service.ports), 0)
    forward = f",hostfwd=tcp:127.0.0.1:8080-:{port}" if port else ""
    kib = data_kib(image.plan)
    memory = max(_ROOM_MIB, -(-(image.plan.machine.memory_kib + kib) // 1024))
    kept = (
        f"What the service keeps is in memory, {kib // 1024} MiB at most, and gone at the end; a\n"
        "machine with less than that and what the service needs is refused at boot.\n"
        if kib
        else ""
    )
    common = f"""\
    qemu-system-x86_64 -machine q35 -m {memory} -nodefaults -no-reboot \\
        -display none -serial stdio -netdev user,id=net{forward} \\
        -device virtio-net-pci,netdev=net \\
"""
    return f"""\
As a CD, with BIOS:

{common}        -cdrom {name}

With UEFI:

{common}        -bios /usr/share/ovmf/OVMF.fd -cdrom {name}

Or burn it, or write it to a USB stick (`dd if={name} of=/dev/sdX bs=4M`), which starts with either
firmware, too. Each block of the root is checked (dm-verity).
{kept}"""
