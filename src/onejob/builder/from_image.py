"""Plan + an image of the same service -> Image, without the host that was profiled.

The files come from the image's root, the kernel is a prepared one, and nothing is compiled: so an
image is made anew for other hardware on a machine that has neither the service nor a compiler.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from onejob.base.linux import need_root
from onejob.base.placement import check_destination, put_in_place, set_rights, workshop
from onejob.base.progress import Progress
from onejob.base.root_files import root_entries
from onejob.builder.image import add_papers
from onejob.builder.root import build_root
from onejob.model.errors import InputError
from onejob.model.image import KERNEL, KERNEL_CONFIG, ROOT, Image, Kernel, open_image
from onejob.model.plan import Plan


@dataclass(frozen=True)
class KernelFiles:
    """A finished kernel: where it and its .config lie, and what a manifest says of it."""

    image: Path
    config: Path
    about: Kernel


def rebuild_image(
    image: Image,
    plan: Plan,
    profile_xml: str,
    kernel: KernelFiles | None,
    destination: Path,
    progress: Progress,
) -> Image:
    """Build the image of `plan` at `destination` from the root of `image` and `kernel`.

    As `build_image`: whole or not at all; same input, same bytes. Raises InputError where the root
    of `image` has not the files that the plan wants, besides what `build_image` raises.
    """
    need_root("building an image")
    destination = destination.absolute()
    check_destination(destination)
    check_files(image, plan)
    with workshop(destination) as shop:
        folder = shop / "image"
        folder.mkdir()
        progress.stage("unpacking")
        unpack_root(image, shop / "files")
        progress.stage("root")
        verity = build_root(plan, shop / "tree", folder / ROOT, progress, str(shop / "files"))
        if kernel:
            shutil.copyfile(kernel.image, folder / KERNEL)
            shutil.copyfile(kernel.config, folder / KERNEL_CONFIG)
        about = kernel.about if kernel else None
        add_papers(plan, profile_xml, folder, verity, about, image.manifest.licences)
        set_rights(folder)
        put_in_place(folder, destination)
    return open_image(destination)


def check_files(image: Image, plan: Plan) -> None:
    """InputError unless the root of `image` has each file of the host's that `plan` wants."""
    had = {(file.path, file.kind, file.sha256, file.target) for file in image.plan.files}
    for file in plan.files:
        wanted = (file.path, file.kind, file.sha256, file.target)
        if file.origin == "host" and wanted not in had:
            raise InputError(
                f"{image.manifest.name}: the profile saw another {file.path} than the image has",
                "profile the service as it is now, and build and push its image again",
            )


def unpack_root(image: Image, folder: Path) -> None:
    """Lay the files of the root of `image` into the new `folder`, readable by root alone.

    What the plan added to a file of the host's is taken off again.
    """
    added = {f.path: f.text.encode() for f in image.plan.files if f.origin == "host" and f.text}
    folder.mkdir(mode=0o700)
    for entry in root_entries(image):
        # Paths were checked, and parents come first: nothing leads out of the folder.
        place = folder / entry.info.name
        if entry.info.isdir():
            place.mkdir(mode=0o700)
        elif entry.info.issym():
            os.symlink(entry.info.linkname, place)
        else:
            with place.open("xb") as file:
                file.write(entry.content.removesuffix(added.get(entry.path, b"")))
