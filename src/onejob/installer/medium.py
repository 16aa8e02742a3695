"""Media: block devices whose file system has a folder ``onejob``, mounted so that nothing runs."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from onejob.base.linux import (
    CLONE_NEWNS,
    MNT_DETACH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    mount,
    unmount,
    unshare,
)
from onejob.installer.order import ANSWERS, MEDIUM, TRUST
from onejob.repository.store import METADATA

# With what each is mounted: even a read-only mount of ext4 would else write its journal back.
_FILE_SYSTEMS = {"iso9660": "", "vfat": "", "ext4": "noload"}
_FLAGS = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
_BLOCKS = Path("/sys/class/block")
# What is no medium: made by a driver out of memory or other devices. A mapped device may be one:
# the installer's own CD, which its root holds.
_NO_MEDIUM = ("ram", "zram", "md", "nbd", "loop")


@dataclass(frozen=True)
class Medium:
    """A mounted medium: the device, the disk that it is part of, and its folder ``onejob``."""

    device: str
    disk: str
    folder: Path

    @property
    def repository(self) -> Path | None:
        """The kit on it."""
        return self.folder if (self.folder / METADATA).is_dir() else None

    @property
    def trust(self) -> Path | None:
        """The root of a repository, that of the kit or of another place."""
        path = self.folder / TRUST
        return path if path.is_file() else None

    @property
    def answers(self) -> Path | None:
        """The answer file on it."""
        path = self.folder / ANSWERS
        return path if path.is_file() else None


@contextmanager
def mounted_media(devices: Sequence[str] | None = None) -> Iterator[tuple[Medium, ...]]:
    """Every medium of this machine, or of `devices`, mounted below a folder that is then gone.

    In a mount namespace of its own, so that no other process sees them. Where this process may not
    mount, there are none.
    """
    with suppress(PermissionError):
        unshare(CLONE_NEWNS)
        mount("none", Path("/"), "none", MS_REC | MS_PRIVATE)
    with tempfile.TemporaryDirectory(prefix="onejob-media-") as name:
        found: list[Medium] = []
        try:
            for device in _devices() if devices is None else devices:
                place = Path(name) / device
                place.mkdir()
                if not _mount(device, place):
                    continue
                if (place / MEDIUM).is_dir():
                    found.append(Medium(device, _disk_of(device), place / MEDIUM))
                else:  # at once: a disk that has mounts cannot be installed on
                    unmount(place)
            yield tuple(found)
        finally:
            for medium in found:
                unmount(medium.folder.parent, MNT_DETACH)


def _devices() -> list[str]:
    """Block devices with something in them, partitions and CDs too, in the order of their names."""
    names = [path.name for path in _BLOCKS.iterdir() if not path.name.startswith(_NO_MEDIUM)]
    return sorted(name for name in names if (_BLOCKS / name / "size").read_text().strip() != "0")


def _mount(device: str, place: Path) -> bool:
    for kind, options in _FILE_SYSTEMS.items():
        with suppress(OSError):
            mount(f"/dev/{device}", place, kind, _FLAGS, options)
            return True
    return False


def _disk_of(device: str) -> str:
    path = Path(os.path.realpath(_BLOCKS / device))
    return path.parent.name if (path / "partition").exists() else device
