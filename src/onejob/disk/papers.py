"""Papers: what a slot says of itself, read back from the disk: manifest, plan, profile."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from onejob.disk.device import Device
from onejob.disk.fat import read_fat
from onejob.disk.layout import Places, find_layout
from onejob.disk.seal import copy_sealed
from onejob.disk.state import Slot
from onejob.model.errors import InputError
from onejob.model.image import MANIFEST, PLAN, PROFILE, Manifest
from onejob.model.jsonfile import load_json
from onejob.model.noun import Noun
from onejob.model.plan import Plan

FACTS = "slot.json"


class SlotFacts(Noun):
    """How an image was put into `slot`: the kernel's `ip` and whole `line`.

    `signed_by` is the SHA-256 of the certificate by which its program was signed, or empty.
    """

    format: Literal[1] = 1
    slot: Slot
    ip: str
    signed_by: str
    line: str


class Papers(NamedTuple):
    """`profile` is the XML file."""

    manifest: Manifest
    plan: Plan
    profile: bytes
    facts: SlotFacts


def read_papers(device: Device, slot: Slot, places: Places | None = None) -> Papers:
    """InputError where the slot is empty or not whole. `places` where no table has them yet."""
    with TemporaryDirectory(prefix="onejob-") as name:
        folder = Path(name)
        papers_into(device, slot, folder, places)
        return Papers(
            load_json(folder / MANIFEST, Manifest, "manifest"),
            load_json(folder / PLAN, Plan, "plan"),
            (folder / PROFILE).read_bytes(),
            load_json(folder / FACTS, SlotFacts, "slot"),
        )


def papers_into(device: Device, slot: Slot, folder: Path, places: Places | None = None) -> None:
    """Write MANIFEST, PLAN, PROFILE and FACTS of the slot into `folder`; errors as read_papers."""
    with TemporaryDirectory(prefix="onejob-") as name:
        copied = Path(name, f"boot-{slot}")
        place = (places or find_layout(device))[f"boot-{slot}"]
        copy_sealed(device, slot, place, copied)
        read_fat(copied, (MANIFEST, PLAN, PROFILE, FACTS), folder)
    facts = load_json(folder / FACTS, SlotFacts, "slot")
    if facts.slot != slot:
        raise InputError(f"disk {device.path}: slot {slot} has the papers of slot {facts.slot}")
