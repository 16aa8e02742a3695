"""Layout: where everything lies on an installed disk; two slots, of which one boots."""

import uuid
from collections.abc import Mapping
from typing import NamedTuple

from onejob.base.data_disk import data_mib
from onejob.disk.device import MIB, Device
from onejob.disk.gpt import Partition, read_table
from onejob.model.container import has_data
from onejob.model.errors import InputError
from onejob.model.image import KERNEL, ROOT, Image

ESP_MIB = 34
# What one slot's kernels, papers and root are given: room for those twice as large, and the least.
_TIMES = 2
_LEAST_BOOT_MIB, _LEAST_ROOT_MIB, _MOST_ROOT_MIB = 32, 64, 1024
_ROOT_SHARE = 16  # a larger disk has larger roots: this part of it, up to the most
DATA_MIB = 512
_FIRST_MIB = _LAST_MIB = 1  # for the tables
_LINUX = "0fc63daf-8483-4772-8e79-3d69d8477de4"
_ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
_BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
NAMES = ("bios", "esp", "state", "boot-a", "boot-b", "root-a", "root-b")
_KINDS = {"bios": _BIOS_BOOT, "esp": _ESP}

# Partitions by name.
Places = Mapping[str, Partition]


class Sizes(NamedTuple):
    """In MiB; no data where the service keeps none."""

    boot: int
    root: int
    data: int

    @property
    def total(self) -> int:
        fixed = _FIRST_MIB + 1 + ESP_MIB + 1 + _LAST_MIB
        return fixed + 2 * self.boot + 2 * self.root + self.data


def layout(image: Image, size: int | None, disk_id: uuid.UUID) -> tuple[Partition, ...]:
    """The partitions of a disk of `size` bytes for `image`; as an export makes it without `size`.

    `disk_id` is the GUID of the disk, of which those of the partitions are made. InputError where
    the disk is too small.
    """
    sizes = _usual(image) if size is None else _sizes(image, size)
    wanted = dict(
        zip(NAMES, (1, ESP_MIB, 1, sizes.boot, sizes.boot, sizes.root, sizes.root), strict=True)
    )
    if sizes.data:
        wanted["data"] = sizes.data
    found, start = [], _FIRST_MIB
    for number, (name, mib) in enumerate(wanted.items(), start=1):
        kind, identity = _KINDS.get(name, _LINUX), str(uuid.uuid5(disk_id, name))
        found.append(Partition(number, name, kind, start * MIB, mib * MIB, identity))
        start += mib
    return tuple(found)


def needed_bytes(image: Image) -> int:
    """The smallest disk for it."""
    return _least(image).total * MIB


def exported_bytes(image: Image) -> int:
    """The disk that an export makes."""
    return _usual(image).total * MIB


def find_layout(device: Device) -> Places:
    """The partitions by name; InputError where onejob has not written the disk."""
    places = {place.name: place for place in read_table(device)}
    if tuple(places) not in {NAMES, (*NAMES, "data")}:
        hint = "install on it with: onejob install, which erases what is there"
        raise InputError(f"disk {device.path} is none that onejob has written", hint)
    return places


def _least(image: Image) -> Sizes:
    """What the image cannot do without, twice."""
    sizes = {each.name: each.size for each in image.manifest.contents}
    root = -(-_TIMES * sizes.pop(ROOT) // MIB)
    # The kernel twice: one for each firmware.
    boot = 1 - (-_TIMES * (sum(sizes.values()) + sizes.get(KERNEL, 0)) // MIB)
    data = data_mib(image.plan) if has_data(image.plan) else 0
    return Sizes(max(_LEAST_BOOT_MIB, boot), max(_LEAST_ROOT_MIB, root), data)


def _usual(image: Image) -> Sizes:
    least = _least(image)
    return least._replace(data=max(DATA_MIB, least.data)) if least.data else least


def _sizes(image: Image, size: int) -> Sizes:
    """A disk of `size` bytes: roots grow with it, and data takes the rest."""
    least, mib = _least(image), size // MIB
    if mib < least.total:
        raise InputError(
            f"the disk has {mib} MiB, and {image.plan.name} needs {least.total} MiB",
            "give a larger disk",
        )
    grown = least._replace(root=max(least.root, min(_MOST_ROOT_MIB, mib // _ROOT_SHARE)))
    if grown.total > mib:
        grown = least
    return grown._replace(data=grown.data + mib - grown.total) if grown.data else grown
