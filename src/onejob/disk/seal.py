"""Seal: the last block of a slot's boot partition says what the FAT before it is, when it is whole.

It is taken off before anything of the slot is written, and put on when all of it is on the disk.
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from onejob.disk.device import MIB, SECTOR, Device
from onejob.disk.gpt import Partition
from onejob.disk.state import Slot
from onejob.model.errors import InputError
from onejob.model.image import Sha256
from onejob.model.noun import Noun

# Of the partition, beside the FAT; the seal itself is one sector, which is there or not.
SEAL_MIB = 1


class Seal(Noun):
    """The FAT's size in bytes, and what it must be."""

    format: Literal[1] = 1
    size: Annotated[int, Field(gt=0)]
    sha256: Sha256


def take_off(device: Device, place: Partition) -> None:
    """The slot is not whole from now on; the disk knows it when this returns."""
    device.write_at(_seal_at(place), bytes(SECTOR))
    device.flush()


def put_on(device: Device, place: Partition, fat: Path) -> None:
    """The slot is whole: its boot partition has the bytes of `fat`."""
    with fat.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    text = Seal(size=fat.stat().st_size, sha256=digest).model_dump_json()
    device.write_at(_seal_at(place), text.encode().ljust(SECTOR, b"\0"))
    device.flush()


def copy_sealed(device: Device, slot: Slot, place: Partition, target: Path) -> None:
    """Copy the slot's FAT to the new sparse file `target`; InputError where it is not as sealed."""
    seal = _read_seal(device, slot, place)
    digest = hashlib.sha256()
    with target.open("xb") as file:
        for at in range(0, seal.size, MIB):
            block = device.read_at(place.start + at, min(MIB, seal.size - at))
            digest.update(block)
            if block.strip(b"\0"):
                os.pwrite(file.fileno(), block, at)
        os.truncate(file.fileno(), seal.size)
    if digest.hexdigest() != seal.sha256:
        raise InputError(f"disk {device.path}: slot {slot} is damaged", "write it again")


def _read_seal(device: Device, slot: Slot, place: Partition) -> Seal:
    text = device.read_at(_seal_at(place), SECTOR).rstrip(b"\0")
    if not text:
        hint = f"slot {slot} is empty, or what was written to it is not whole"
        raise InputError(f"disk {device.path}: nothing is in slot {slot}", hint)
    try:
        seal = Seal.model_validate_json(text)
    except ValidationError as error:
        hint = "write it again"
        raise InputError(f"disk {device.path}: the seal of slot {slot} is damaged", hint) from error
    if seal.size > place.size - SECTOR:
        raise InputError(f"disk {device.path}: the seal of slot {slot} is another disk's")
    return seal


def _seal_at(place: Partition) -> int:
    return place.start + place.size - SECTOR
