"""GRUB for one disk: for BIOS and for UEFI from one configuration that is built into it.

And for a medium with BIOS, which is started as a CD or as a stick.

Sources: grub-mkimage(1); GRUB's include/grub/i386/pc/boot.h and grub-core/boot/i386/pc/{boot,
diskboot}.S: the first sector has the number of the sector where the core image begins, and
the core image's first sector the number of its second. grub-bios-setup(8) writes the same two.
"""

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from onejob.base.process import find_tool, run_tool
from onejob.disk.device import SECTOR
from onejob.disk.gpt import BOOT_CODE, Partition
from onejob.disk.layout import Places
from onejob.disk.options import Options
from onejob.disk.sign import sign
from onejob.model.errors import BuildError, LacksError

_MODULES = Path("/usr/lib/grub")
_CONFIGURATION = Path(__file__).with_name("boot.cfg")
_MEDIUM_CONFIGURATION = Path(__file__).with_name("medium.cfg")
_LIMIT_S = 120
_KERNEL_SECTOR = 0x5C  # boot.S: kernel_sector, 64 bits
_DRIVE_CHECK = 0x66  # boot.S: two bytes that are no instructions where the BIOS names the drive
_NEXT_SECTOR = 0x1F4  # diskboot.S: the first block list, 64 bits
_COMMON = (
    "normal", "configfile", "test", "regexp", "loadenv", "echo", "sleep", "reboot", "memdisk",
    "tar", "part_gpt", "fat",
)  # fmt: skip
_FOR_BIOS = (*_COMMON, "biosdisk", "linux", "serial", "terminal")
_FOR_MEDIUM = (
    "normal", "configfile", "test", "regexp", "echo", "sleep", "reboot", "memdisk", "tar",
    "iso9660", "biosdisk", "linux", "serial", "terminal",
)  # fmt: skip
# With Secure Boot, GRUB loads what some verifier of its own has taken: `tpm` measures it. Whether
# it is signed, the firmware sees when it starts the program.
_FOR_UEFI = (*_COMMON, "chain", "tpm")
_PACKAGES = {"i386-pc": "grub-pc-bin", "x86_64-efi": "grub-efi-amd64-bin"}
# Of a stick: it looks for the loader at the place that xorriso writes into it.
MEDIUM_SECTOR = _MODULES / "i386-pc/boot_hybrid.img"
# Without `normal` the configuration has no `if`. Whatever comes back from it restarts.
_EARLY = "normal (memdisk)/boot.cfg\nreboot\n"


class Grub(NamedTuple):
    """`boot_code` for the first sector, `core` for the BIOS boot partition, the EFI `program`."""

    boot_code: bytes
    core: bytes
    program: bytes


def make_grub(places: Places, console: str, options: Options) -> Grub:
    """For a disk with `places`; `console` as on the kernel's command line: ``ttyS0,115200``.

    Same input, same bytes; but a signature has the time in it. LacksError without GRUB's packages.
    """
    _need_grub("i386-pc", "x86_64-efi")
    with TemporaryDirectory(prefix="onejob-") as name:
        shop = Path(name)
        (shop / "early.cfg").write_text(_EARLY)
        (shop / "memdisk.tar").write_bytes(_memdisk(configuration(places, console)))
        core = _image(shop, "i386-pc", _FOR_BIOS, ())
        _image(shop, "x86_64-efi", _FOR_UEFI, ("--disable-shim-lock",))
        program = shop / "x86_64-efi"
        sign(program, options)
        boot_sector = (_MODULES / "i386-pc/boot.img").read_bytes()
        return _placed(boot_sector, core.read_bytes(), places["bios"], program.read_bytes())


def make_medium_loader(consoles: Iterable[str], target: Path) -> None:
    """The new file `target`: what a BIOS starts of a CD without emulation (El Torito), and what the
    boot sector MEDIUM_SECTOR of a stick loads. It reads medium.cfg's files from the file system.

    The same bytes for the same `consoles`. LacksError without GRUB's packages.
    """
    _need_grub("i386-pc")
    with TemporaryDirectory(prefix="onejob-") as name:
        shop = Path(name)
        (shop / "early.cfg").write_text(_EARLY)
        text = "\n".join([*_speak(consoles), _MEDIUM_CONFIGURATION.read_text()])
        (shop / "memdisk.tar").write_bytes(_memdisk(text))
        shutil.copyfile(_image(shop, "i386-pc-eltorito", _FOR_MEDIUM, ()), target)


def _need_grub(*folders: str) -> None:
    for folder in folders:
        if not (_MODULES / folder / "moddep.lst").is_file():
            hint = f"apt-get install {_PACKAGES[folder]}"
            raise LacksError(f"{_MODULES / folder} is missing", hint)


def configuration(places: Places, console: str) -> str:
    """Where things are, how to speak, and boot.cfg."""
    numbers = {"state": "state", "a": "boot-a", "b": "boot-b"}
    lines = [f"set {name}=gpt{places[place].number}" for name, place in numbers.items()]
    return "\n".join([*lines, *_speak([console]), _CONFIGURATION.read_text()])


def _speak(consoles: Iterable[str]) -> list[str]:
    """On the first serial line among them, and on the screen."""
    serial = next((name for name in consoles if name.startswith("ttyS")), None)
    if serial is None:
        return []
    # Firmware of the other kind has its own word about where its console is.
    unit = serial.removeprefix("ttyS").partition(",")[0]
    speak = f"if serial --unit={unit} --speed=115200; then terminal_output serial console; fi"
    return ['if [ "$grub_platform" = pc ]; then', speak, "fi"]


def _memdisk(text: str) -> bytes:
    content, archive = text.encode(), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("boot.cfg")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def _image(shop: Path, form: str, modules: tuple[str, ...], more: tuple[str, ...]) -> Path:
    target = shop / form
    words: list[str | Path] = [
        "-O", form, "-d", _MODULES / form.removesuffix("-eltorito"), "-p", "(memdisk)/",
        "-c", shop / "early.cfg",
    ]  # fmt: skip
    words += ["-m", shop / "memdisk.tar", "-o", target, *more, *modules]
    run_tool([find_tool("grub-mkimage", "grub-common"), *words], timeout=_LIMIT_S)
    return target


def _placed(boot_sector: bytes, core: bytes, place: Partition, program: bytes) -> Grub:
    """Each part knows where the next one is."""
    if len(core) > place.size or len(boot_sector) != SECTOR or len(core) < SECTOR:
        raise BuildError(f"GRUB has {len(core)} bytes, and its partition {place.size}")
    first = place.start // SECTOR
    boot, patched = bytearray(boot_sector[:BOOT_CODE]), bytearray(core)
    boot[_KERNEL_SECTOR : _KERNEL_SECTOR + 8] = first.to_bytes(8, "little")
    boot[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    patched[_NEXT_SECTOR : _NEXT_SECTOR + 8] = (first + 1).to_bytes(8, "little")
    return Grub(bytes(boot), bytes(patched), program)
