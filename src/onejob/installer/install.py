"""Kit + this machine -> a disk that boots the service. ``install`` is the whole way."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from onejob.base.linux import need_root
from onejob.base.progress import Progress
from onejob.installer.kit import bring_image, kernels_at_hand, services
from onejob.installer.make import make_image
from onejob.installer.order import Order
from onejob.installer.target import Target, check_apart, find_target
from onejob.installer.write import Written, check_room, check_target, write_image
from onejob.model.errors import InputError
from onejob.model.hardware import ARCHITECTURES, Disk, Hardware
from onejob.model.image import Image
from onejob.repository.fetch import PATIENCE_S, open_source
from onejob.repository.trust import trusted


@dataclass(frozen=True)
class Installed:
    """What is on the disk now."""

    name: str
    kernel: str
    target: Target
    written: Written


def install(
    order: Order,
    hardware: Hardware,
    disks: tuple[Disk, ...],
    state: Path,
    progress: Progress,
    patience_s: float = PATIENCE_S,
) -> Installed:
    """Bring the service of `order`, make its image for `hardware`, and write it to one of `disks`.

    Nothing is written before everything that can be known is: kit verified, image made, disk large
    enough, free, and given up by who may lose what is on it. `disks` are those of this machine,
    which need not be the one that `hardware` describes. `state` remembers the trust in the
    repository. Raises InputError, LacksError and BuildError; once writing has begun, a second run
    finishes what a first one left.
    """
    need_root("installing")
    check_hardware(hardware)
    target = find_target(order.disk, disks)
    check_apart(target, [Path(order.repository)] if "://" not in order.repository else [])
    check_target(target, order)
    with tempfile.TemporaryDirectory(prefix="onejob-install-") as work:
        image = bring_and_make(order, hardware, target, Path(work), state, progress, patience_s)
        written = write_image(image, target, order, progress)
        about = image.manifest.kernel
        return Installed(image.manifest.name, about.source if about else "", target, written)


def bring_and_make(
    order: Order,
    hardware: Hardware,
    target: Target,
    work: Path,
    state: Path,
    progress: Progress,
    patience_s: float,
) -> Image:
    """The image for `hardware` with `target`, in the folder `work`."""
    with (
        open_source(order.repository, patience_s) as source,
        trusted(source, order.trust, state) as client,
    ):
        image = bring_image(client, order.service, order.version, work, progress)
        check_room(target, order, image)
        kernels, made = kernels_at_hand(client, work / "kernels"), work / "made.onejob"
        return make_image(image, on_target(hardware, target), kernels, made, progress)


def held_services(order: Order, state: Path) -> list[str]:
    """The services that the repository of `order` has images of."""
    with (
        open_source(order.repository) as source,
        trusted(source, order.trust, state) as client,
    ):
        return [history.name for history in services(client)]


def check_hardware(hardware: Hardware) -> None:
    """InputError for a machine that no image can be made for."""
    if hardware.architecture not in ARCHITECTURES:
        raise InputError(
            f"this machine is {hardware.architecture}",
            f"onejob installs on {', '.join(ARCHITECTURES)}",
        )
    if hardware.secure_boot == "on":
        raise InputError(
            "this machine starts only what is signed (Secure Boot), and what is installed is not",
            "switch Secure Boot off; or sign a disk elsewhere: onejob export --to disk --key KEY",
        )
    if not any(disk.kind == "disk" and disk.size_bytes for disk in hardware.disks):
        raise InputError(
            "this machine has no disk that the installer can see",
            "attach one; or its controller has no driver in the installer's kernel: onejob survey",
        )


def on_target(hardware: Hardware, target: Target) -> Hardware:
    """`hardware` with the target as its first disk that stays in it, as the planner wants it.

    Unchanged where it is another machine's.
    """
    if target.disk is None or target.disk not in hardware.disks:
        return hardware
    fixed = target.disk.model_copy(update={"removable": False})
    others = tuple(disk for disk in hardware.disks if disk.name != fixed.name)
    return hardware.model_copy(update={"disks": (fixed, *others)})
