"""Image -> disk: the whole of one, or one slot of it; written, flushed, read back."""

import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from onejob.base.data_disk import make_data_disk
from onejob.base.verity import check_root, check_root_of, root_bytes
from onejob.disk import seal
from onejob.disk.command_line import grub_words, slot_line
from onejob.disk.data import put_journal
from onejob.disk.device import MIB, Device, copy_data, put_file
from onejob.disk.fat import make_esp, make_fat
from onejob.disk.gpt import wipe_table, write_table
from onejob.disk.grub import Grub, make_grub
from onejob.disk.kernel_needs import Need, has_option, need_kernel
from onejob.disk.layout import Places, find_layout, layout
from onejob.disk.options import USUAL, Options
from onejob.disk.papers import FACTS, Papers, SlotFacts, read_papers
from onejob.disk.sign import fingerprint
from onejob.disk.state import Slot, State, new_partition, read_state, write_state
from onejob.disk.unified_kernel import make_unified
from onejob.model.errors import InputError, LacksError
from onejob.model.image import KERNEL, MANIFEST, ROOT, Image

NEEDS = (
    Need(("EFI_PARTITION",), "its root is a partition"),
    Need(
        ("BLK_DEV_SD", "VIRTIO_BLK", "BLK_DEV_NVME", "MMC_BLOCK", "XEN_BLKDEV_FRONTEND"),
        "its root is on a disk",
    ),
)
PROGRAM = "linux.efi"
BIOS_WORDS = "linux.cfg"


def write_disk(
    image: Image, device: Device, options: Options = USUAL, disk_id: uuid.UUID | None = None
) -> None:
    """Make all of `device` a disk that boots `image` from slot a. What was on it is gone.

    Until the last step the disk has no partition table, so one that was interrupted boots nothing.
    `disk_id` None: by lot, as no two disks of one machine may have the same. InputError where the
    image or the disk is not fit for it, LacksError where it cannot be written.
    """
    need_kernel(image, "a disk", NEEDS, "qemu-q35-uefi")
    disk_id = disk_id or uuid.uuid4()
    partitions = layout(image, device.size, disk_id)
    places = {place.name: place for place in partitions}
    with TemporaryDirectory(prefix="onejob-") as name:
        shop = Path(name)
        grub = make_grub(places, image.plan.machine.console, options)
        fat = make_boot_fat(image, "a", places, options, shop)
        wipe_table(device)
        device.flush()
        _put_loader(device, places, grub, shop)
        _put_data(device, places, image, shop)
        seal.take_off(device, places["boot-b"])
        _put_slot(device, places, "a", image, fat)
        device.write_at(places["state"].start, new_partition(State("a")))
        device.flush()
        _check_loader(device, places, grub, shop / "esp")
    verify_slot(device, "a", places)
    write_table(device, partitions, disk_id, grub.boot_code)


def write_slot(device: Device, slot: Slot, image: Image, options: Options = USUAL) -> None:
    """Put `image` into the slot that does not boot; nothing else of the disk is changed.

    A trial of this slot ends. To be tried it has to be named by write_state. InputError where it is
    the slot that boots, or too small; LacksError where the disk fails.
    """
    need_kernel(image, "a disk", NEEDS, "qemu-q35-uefi")
    places = find_layout(device)
    state = read_state(device)
    if slot == state.first:
        hint = "write the other slot"
        raise InputError(f"disk {device.path}: slot {slot} is the one that boots", hint)
    with TemporaryDirectory(prefix="onejob-") as name:
        fat = make_boot_fat(image, slot, places, options, Path(name))
        check_root(image.root, image.manifest.verity)
        if state.trying:
            write_state(device, State(state.first))
        _put_slot(device, places, slot, image, fat)
    verify_slot(device, slot)


def verify_slot(device: Device, slot: Slot, places: Places | None = None) -> Papers:
    """Read all of the slot; its papers. InputError where anything is not as it was written.

    `places` where no table has them yet.
    """
    places = places or find_layout(device)
    papers = read_papers(device, slot, places)
    verity, place = papers.manifest.verity, places[f"root-{slot}"]
    if root_bytes(verity) > place.size:
        raise InputError(f"disk {device.path}: slot {slot} has the papers of a larger root")
    with device.window(place.start, root_bytes(verity)) as root:
        check_root_of(root, f"disk {device.path}: root of slot {slot}", verity)
    return papers


def make_boot_fat(image: Image, slot: Slot, places: Places, options: Options, shop: Path) -> Path:
    """The slot's boot partition as a file in `shop`: kernels with their words, and the papers."""
    place, line = places[f"boot-{slot}"], slot_line(image, slot, places, options)
    names = [MANIFEST, *(each.name for each in image.manifest.contents if each.name != ROOT)]
    files = {name: image.folder / name for name in names}
    facts = SlotFacts(slot=slot, ip=options.ip, signed_by=fingerprint(options), line=line)
    (shop / FACTS).write_text(facts.model_dump_json(indent=2) + "\n")
    (shop / BIOS_WORDS).write_text(f"linux /{KERNEL} {grub_words(line)}\n")
    files |= {FACTS: shop / FACTS, BIOS_WORDS: shop / BIOS_WORDS}
    if has_option(image, "EFI_STUB"):
        files[PROGRAM] = shop / PROGRAM
        make_unified(image.kernel, line, image.plan.name, files[PROGRAM], options)
    _require_room(image, slot, places, sum(path.stat().st_size for path in files.values()))
    fat = shop / "boot"
    make_fat(files, fat, place.size // MIB - seal.SEAL_MIB, f"BOOT-{slot.upper()}")
    return fat


def _require_room(image: Image, slot: Slot, places: Places, boot_bytes: int) -> None:
    hint = "install it anew, on a disk that is made for it"
    # The file system needs some for itself.
    room = places[f"boot-{slot}"].size - (seal.SEAL_MIB + 1) * MIB
    if boot_bytes > room:
        what = f"kernel and papers of {image.plan.name} have {boot_bytes} bytes"
        raise InputError(f"{what}, slot {slot} has room for {room}", hint)
    size, room = image.root.stat().st_size, places[f"root-{slot}"].size
    if size > room:
        what = f"the root of {image.plan.name} has {size} bytes"
        raise InputError(f"{what}, slot {slot} has room for {room}", hint)


def _put_slot(device: Device, places: Places, slot: Slot, image: Image, fat: Path) -> None:
    boot = places[f"boot-{slot}"]
    seal.take_off(device, boot)
    with image.root.open("rb") as root, fat.open("rb") as file:
        put_file(device, places[f"root-{slot}"].start, root)
        put_file(device, boot.start, file)
    device.flush()
    seal.put_on(device, boot, fat)


def _put_loader(device: Device, places: Places, grub: Grub, shop: Path) -> None:
    device.write_at(places["bios"].start, grub.core)
    program, esp = shop / "grub.efi", shop / "esp"
    program.write_bytes(grub.program)
    make_esp(program, esp, places["esp"].size // MIB)
    with esp.open("rb") as file:
        put_file(device, places["esp"].start, file)


def _put_data(device: Device, places: Places, image: Image, shop: Path) -> None:
    """An empty file system, whatever was there."""
    if (place := places.get("data")) is None:
        return
    made = shop / "data"
    make_data_disk(made, place.size // MIB, place.identity, over=True)
    copy_data(made, device, place.start)
    put_journal(made, device, place.start)


def _check_loader(device: Device, places: Places, grub: Grub, esp: Path) -> None:
    """What was written besides the slot, by reading it back."""
    wanted = {"bios": grub.core, "state": new_partition(State("a")), "esp": esp.read_bytes()}
    for name, content in wanted.items():
        if device.read_at(places[name].start, len(content)) != content:
            what = f"disk {device.path} does not hold what is written to it ({name})"
            raise LacksError(what, "give another disk")
