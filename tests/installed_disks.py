"""Installed disks to upgrade: two systems of one service, and a disk with one or both of them."""

import subprocess
from pathlib import Path

import some_images
from onejob.disk.device import Device, new_raw, open_device
from onejob.disk.layout import needed_bytes
from onejob.disk.options import Options
from onejob.disk.state import read_state
from onejob.disk.write import verify_slot, write_disk, write_slot
from onejob.model.image import Image, open_image

OPTIONS = Options(ip="off")


def make_system(folder: Path, name: str) -> Image:
    """A system that differs from others by its root and its kernel."""
    text = name.encode()
    path = some_images.make_image(folder / f"{name}.onejob", text * 9999, kernel=text * 2999)
    return open_image(path)


def make_disk(path: Path, first: Image, second: Image | None = None) -> Path:
    """A disk that boots `first`, with `second` beside it."""
    new_raw(path, needed_bytes(first))
    with open_device(path, write=True) as device:
        write_disk(first, device, OPTIONS)
        if second:
            write_slot(device, "b", second, OPTIONS)
    return path


def copied(source: Path, target: Path) -> Path:
    """A sparse copy; what was at `target` is gone."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True, timeout=120)
    return target


def boots_next(device: Device) -> str:
    """The root hash of the system that boots next, all of which was read and is whole."""
    papers = verify_slot(device, read_state(device).next)
    return papers.manifest.verity.root_hash


def root_hash(image: Image) -> str:
    """What boots_next gives for it."""
    return image.manifest.verity.root_hash
