"""The disk to write: found by what was said of it, and refused where it cannot be it."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from onejob.model.answers import DiskAnswer
from onejob.model.errors import InputError
from onejob.model.hardware import Disk

_GB = 10**9
_BLOCKS = Path("/sys/class/block")
_NUMBERS = Path("/sys/dev/block")


@dataclass(frozen=True)
class Target:
    """What is written: `path`, and the disk that it is, None for a raw file."""

    path: Path
    disk: Disk | None = None

    def __str__(self) -> str:
        return f"{self.path} ({describe_disk(self.disk)})" if self.disk else str(self.path)


def describe_disk(disk: Disk) -> str:
    """A disk as a person tells it from others."""
    words = [f"{disk.size_bytes / _GB:.1f} GB", disk.bus, disk.model]
    words += [f"serial {disk.serial}"] * bool(disk.serial) + ["removable"] * disk.removable
    return ", ".join(word for word in words if word)


def possible_disks(disks: Iterable[Disk], mediums: Iterable[str] = ()) -> tuple[Disk, ...]:
    """Disks with something to write on, those that stay in the machine first.

    `mediums` are names of disks that the installer reads from, which are left out.
    """
    taken = set(mediums)
    found = [d for d in disks if d.kind == "disk" and d.size_bytes and d.name not in taken]
    return tuple(sorted(found, key=lambda disk: disk.removable))


def find_target(answer: DiskAnswer, disks: tuple[Disk, ...]) -> Target:
    """The one disk that has all that is said of it, or the raw file at its path.

    InputError where none fits, several do, or nothing is said.
    """
    if answer.path is not None:
        return _at_path(answer, disks)
    if (answer.serial, answer.model, answer.size_gb) == (None, None, None):
        raise InputError("no disk to install on was named", _names(disks))
    fitting = [disk for disk in disks if _fits(answer, disk)]
    if len(fitting) != 1:
        what = "no disk is" if not fitting else f"{len(fitting)} disks are"
        raise InputError(f"{what} as the answers say ({_said(answer)})", _names(disks))
    return Target(Path("/dev") / fitting[0].name, fitting[0])


def _at_path(answer: DiskAnswer, disks: tuple[Disk, ...]) -> Target:
    path = Path(os.path.realpath(answer.path or ""))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"disk {answer.path}: {error.strerror}", _names(disks)) from error
    if stat.S_ISREG(mode):
        return Target(path)
    if not stat.S_ISBLK(mode):
        raise InputError(f"disk {answer.path} is no disk and no file", _names(disks))
    if (_BLOCKS / path.name / "partition").exists():
        raise InputError(f"{path} is a partition; a system takes a whole disk", _names(disks))
    disk = next((each for each in disks if each.name == path.name), None)
    if disk and not _fits(answer, disk):
        raise InputError(f"{path} is not as the answers say ({_said(answer)})", _names(disks))
    return Target(path, disk)


def _fits(answer: DiskAnswer, disk: Disk) -> bool:
    return (
        (answer.serial is None or answer.serial == disk.serial)
        and (answer.model is None or answer.model == disk.model)
        and (answer.size_gb is None or answer.size_gb == round(disk.size_bytes / _GB))
    )


def _said(answer: DiskAnswer) -> str:
    said = {"serial": answer.serial, "model": answer.model, "size_gb": answer.size_gb}
    return ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)


def _names(disks: tuple[Disk, ...]) -> str:
    if not disks:
        return "this machine has no disk that can be written"
    return "there are: " + "; ".join(f"/dev/{d.name} ({describe_disk(d)})" for d in disks)


def check_apart(target: Target, places: Iterable[Path]) -> None:
    """InputError where one of `places`, which are read, lies on the target."""
    for place in places:
        if str(target.path) in devices_below(place):
            raise InputError(
                f"{target.path} is the disk that {place} is read from",
                "install on another disk, or read from another medium",
            )


def devices_below(place: Path) -> set[str]:
    """The disks that `place` lies on, and the files that stand for one (losetup(8)), by path."""
    try:
        number = place.stat().st_dev
    except OSError:
        return set()
    return set(_below(os.path.realpath(_NUMBERS / f"{os.major(number)}:{os.minor(number)}")))


def _below(entry: str) -> Iterator[str]:
    """From the sysfs entry of a block device down: disk of a partition, parts of a mapped one."""
    path = Path(entry)
    if not path.exists():
        return
    if (path / "partition").exists():
        path = path.parent
    yield f"/dev/{path.name}"
    backing = path / "loop/backing_file"
    if backing.exists():
        yield backing.read_text().strip()
    for slave in path.glob("slaves/*"):
        yield from _below(os.path.realpath(slave))
