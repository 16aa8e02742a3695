"""An image -> the slot of an installed disk that does not boot, to be tried; or back to the other.

What boots now boots until the new slot is written, read back and verified, and after that whenever
the new one does not become ready.
"""

from typing import NamedTuple

from onejob.base.progress import Progress
from onejob.disk.device import Device
from onejob.disk.layout import find_layout
from onejob.disk.options import Options
from onejob.disk.papers import Papers, read_papers
from onejob.disk.sign import fingerprint
from onejob.disk.state import SLOTS, Slot, State, other, read_state, trial, write_state
from onejob.disk.write import verify_slot, write_slot
from onejob.model.container import has_data
from onejob.model.errors import InputError
from onejob.model.image import Image
from onejob.model.profile_xml import load_profile


class SlotContent(NamedTuple):
    """What one slot has: its papers, or why it has none that count."""

    papers: Papers | None
    lack: str = ""


class Installed(NamedTuple):
    """What an installed disk says of itself."""

    state: State
    slots: dict[Slot, SlotContent]


def read_installed(device: Device) -> Installed:
    """Boot state and papers; InputError where the disk is not onejob's, or its state is damaged."""
    find_layout(device)
    return Installed(read_state(device), {slot: _content(device, slot) for slot in SLOTS})


def _content(device: Device, slot: Slot) -> SlotContent:
    try:
        return SlotContent(read_papers(device, slot))
    except InputError as error:
        return SlotContent(None, error.what.partition(": ")[2] or error.what)


def booting(device: Device, installed: Installed) -> Papers:
    """The papers of the slot that boots; InputError where it is not whole."""
    found = installed.slots[installed.state.first]
    if found.papers is None:
        hint = "install the system again: onejob install"
        raise InputError(f"disk {device.path}: the slot that boots is damaged: {found.lack}", hint)
    return found.papers


def same_system(now: Papers, image: Image, options: Options) -> bool:
    """Whether `image` with its `options` is what boots already."""
    then, wanted = now.manifest, image.manifest
    same_image = then.verity == wanted.verity and then.kernel == wanted.kernel
    same_words = now.plan.kernel_arguments == image.plan.kernel_arguments
    return same_image and same_words and options.ip == now.facts.ip


def may_follow(now: Papers, image: Image, options: Options) -> None:
    """InputError unless `image` can take the place of the system with the papers `now`."""
    name = now.manifest.name
    if image.manifest.name != name:
        raise InputError(
            f"the disk has {name}, and the image {image.folder} is {image.manifest.name}'s",
            "give that service's disk, or install anew: onejob install",
        )
    if image.plan.architecture != now.plan.architecture:
        raise InputError(
            f"the disk's system is for {now.plan.architecture}, the image for"
            f" {image.plan.architecture}",
            "build the image for the disk's machine",
        )
    if has_data(image.plan) and not has_data(now.plan):
        hint = "install it anew, on a disk that is made for it"
        raise InputError(f"{name} keeps data now, and the disk has no place for it", hint)
    _check_owner(now, image)
    _check_signature(now, options)
    _check_profile(image)


def _check_owner(now: Papers, image: Image) -> None:
    """Files on the data partition belong to numbers."""
    before, after = now.plan.service, image.plan.service
    if has_data(now.plan) and (before.user, before.group) != (after.user, after.group):
        raise InputError(
            f"the data belong to {before.user}:{before.group}, and the image's service runs as"
            f" {after.user}:{after.group}, which could not change them",
            "give the account the same numbers where the image is built, or install anew",
        )


def _check_signature(now: Papers, options: Options) -> None:
    """Firmware that starts signed systems alone would start no other, and come back."""
    wanted = now.facts.signed_by
    if wanted and fingerprint(options) != wanted:
        hint = "give the same --key and --certificate; for another, export or install anew"
        how = "another certificate" if options.certificate else "no certificate"
        raise InputError(f"the disk's system is signed, and {how} is given", hint)


def _check_profile(image: Image) -> None:
    """The image has the files that its profile saw, but for those that it says are newer."""
    renewed = {file.path for file in image.plan.renewed}
    seen = {file.path: file.sha256 for file in load_profile(image.profile).files}
    copied = [file for file in image.plan.files if file.origin == "host" and file.kind == "file"]
    for file in copied:
        if file.path not in renewed and seen.get(file.path) != file.sha256:
            raise InputError(
                f"the image {image.folder} has another {file.path} than its profile saw",
                "profile the service as it is now, and build the image again",
            )


def put_on_trial(device: Device, image: Image, options: Options, progress: Progress) -> Slot:
    """Write `image` to the slot that does not boot; the slot, which is tried at the next start.

    A trial that was under way ends first. Whatever happens, the slot that boots stays whole.
    """
    slot = other(read_state(device).first)
    progress.stage(f"writing slot {slot}, and reading it back")
    write_slot(device, slot, image, options)
    write_state(device, trial(read_state(device), slot))
    return slot


def go_back(device: Device) -> State:
    """End a trial; where none is, try the other slot again. The state after it.

    InputError where the other slot is not whole.
    """
    state = read_state(device)
    if state.trying:
        after = State(state.first)
    else:
        verify_slot(device, other(state.first))
        after = trial(state, other(state.first))
    write_state(device, after)
    return after
