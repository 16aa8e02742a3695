"""Image -> the target: the other slot of the same service's disk, or a whole disk that is given up.

Nothing is written before all is known to be right; what boots now boots until the new is verified.
"""

from typing import NamedTuple

from onejob.base.progress import Progress
from onejob.disk.device import Device, open_device
from onejob.disk.layout import needed_bytes
from onejob.disk.options import Options, check_options
from onejob.disk.state import Slot
from onejob.disk.write import verify_slot, write_disk
from onejob.installer.content import System, describe_content, find_system
from onejob.installer.order import Order
from onejob.installer.target import Target
from onejob.installer.upgrade import may_follow, put_on_trial, same_system
from onejob.model.errors import InputError
from onejob.model.image import Image


class Written(NamedTuple):
    """`slot` has the new system; `kept` says what boots should it fail, empty on a new disk."""

    slot: Slot
    kept: str


def check_target(target: Target, order: Order) -> None:
    """InputError where the target is in use, or holds what nobody said may be lost."""
    with open_device(target.path, write=True) as device:
        _check_given_up(device, target, order)


def check_room(target: Target, order: Order, image: Image) -> None:
    """InputError where a system of the size of `image` has no room on the target.

    `image` is the one that the system is made of, which takes longer than to say so.
    """
    with open_device(target.path) as device:
        if _check_given_up(device, target, order) is None:
            _need_room(device, target, image)


def write_image(image: Image, target: Target, order: Order, progress: Progress) -> Written:
    """Put `image` on the target, read it back, and only then let it boot."""
    options = Options(ip=order.ip)
    check_options(options)
    with open_device(target.path, write=True) as device:
        if order.disk.again is False:
            _check_new(device, target, image, options)
        system = _check_given_up(device, target, order)
        if system:
            return _beside(system, image, device, options, progress)
        _need_room(device, target, image)
        progress.stage("writing the disk")
        write_disk(image, device, options)
        progress.stage("reading it back")
        verify_slot(device, "a")
    return Written("a", "")


def _check_new(device: Device, target: Target, image: Image, options: Options) -> None:
    """InputError where the target boots `image` already, or tries it next, and has it whole."""
    system = find_system(device)
    if system is None:
        return
    for slot in sorted({system.state.first, system.state.next}):
        if _has(device, slot, image, options):
            raise InputError(
                f"{target} has this system already, in slot {slot}",
                "take the medium out, and restart; to install it once more: again = true below"
                " [disk] in the answer file",
            )


def _has(device: Device, slot: Slot, image: Image, options: Options) -> bool:
    try:
        return same_system(verify_slot(device, slot), image, options)
    except InputError:  # damaged: it is to be written again
        return False


def _need_room(device: Device, target: Target, image: Image) -> None:
    if device.size < (needed := needed_bytes(image)):
        raise InputError(
            f"{target} is too small: {device.size >> 20} MiB, {image.manifest.name} needs"
            f" {needed >> 20} MiB",
            "install on a larger disk",
        )


def _beside(
    system: System, image: Image, device: Device, options: Options, progress: Progress
) -> Written:
    """Into the slot that does not boot, to be tried at the next start; the data stay."""
    may_follow(system.papers, image, options)
    return Written(put_on_trial(device, image, options, progress), system.words)


def _check_given_up(device: Device, target: Target, order: Order) -> System | None:
    """The system that the new one goes beside; None where the disk may be erased for it."""
    system = None if order.disk.fresh else find_system(device)
    if system and system.papers.manifest.name == order.service:
        return system
    if not order.disk.erase:
        raise InputError(
            f"all that is on {target} would be lost: {describe_content(device)}",
            "if it may be: --erase, or erase = true in the answer file",
        )
    return None
