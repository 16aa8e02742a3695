"""Image -> Export: what other systems run. ``export_image`` is the whole way."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from onejob.base.progress import Progress
from onejob.base.verity import check_root
from onejob.disk.options import USUAL, Options, check_options
from onejob.exporter.disk import export_disk, export_qcow2, export_vmdk
from onejob.exporter.firecracker import export_firecracker
from onejob.exporter.form import README, Export, new_folder
from onejob.exporter.installer_iso import export_installer_iso
from onejob.exporter.iso import export_iso
from onejob.exporter.oci import export_oci
from onejob.exporter.sbom import SBOM, export_sbom, sbom_text
from onejob.exporter.systemd import export_systemd
from onejob.model.errors import InputError
from onejob.model.image import Image

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AGAIN = "such a word cannot be exported; build the image again"

KINDS: Mapping[str, Callable[[Image, Path, Options], Export]] = {
    "oci": export_oci,
    "systemd": export_systemd,
    "firecracker": export_firecracker,
    "disk": export_disk,
    "qcow2": export_qcow2,
    "vmdk": export_vmdk,
    "iso": export_iso,
    "installer-iso": export_installer_iso,
    "sbom": export_sbom,
}


def export_image(
    image: Image, kind: str, destination: Path, progress: Progress, options: Options = USUAL
) -> Export:
    """Make the new folder `destination` with `image` as `kind`: same image, same bytes.

    InputError for an unknown kind, a damaged image, an image that cannot be such, or a destination
    that exists; LacksError for tools or space.
    """
    make = KINDS.get(kind)
    if make is None:
        raise InputError(f"nothing is exported as {kind!r}", f"choose one of {', '.join(KINDS)}")
    check_options(options)
    check_words(image)
    with new_folder(destination) as folder:
        progress.stage("check")
        check_root(image.root, image.manifest.verity)
        progress.stage(kind)
        export = make(image, folder, options)
        (folder / SBOM).write_text(sbom_text(image))
        (folder / README).write_text(f"# {image.plan.name}: {export.title}\n\n{export.steps}")
    return export


def check_words(image: Image) -> None:
    """InputError where a word of the plan would break out of the line it is written to.

    Names become names of files; other words go to units, scripts and command lines, all of which
    have a line for each.
    """
    plan, service = image.plan, image.plan.service
    names = (plan.name, service.hostname, *(name for name in plan.sizes("limit")))
    words = (
        *service.command, *service.environment, service.directory,
        *(mount.path for mount in plan.mounts),
        *(device for mount in plan.mounts for device in mount.devices),
        *(capability.name for capability in plan.capabilities), *(call.name for call in plan.calls),
        *(each.value for each in plan.kernel_arguments), plan.machine.console,
        *(word for pair in plan.sysctls().items() for word in pair),
    )  # fmt: skip
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(f"image {image.folder}: its plan has the name {name!r}", _AGAIN)
    for word in words:
        if _CONTROL.search(word):
            raise InputError(f"image {image.folder}: its plan has the word {word!r}", _AGAIN)
