"""Images that can be opened and checked, but not run: a root of chance blocks with its tree."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import small_world
from onejob.builder.verity import append_tree
from onejob.model.image import (
    KERNEL,
    KERNEL_CONFIG,
    MANIFEST,
    PLAN,
    PROFILE,
    ROOT,
    Content,
    Kernel,
    Manifest,
)
from onejob.model.jsonfile import to_json
from onejob.model.profile_xml import write_profile
from onejob.planner.plan import make_plan

NAME = "keeper"


# Of a kernel that boots from a partition, with either firmware.
OPTIONS = ("EFI_PARTITION", "EFI_STUB", "BLK_DEV_SD", "DM_INIT")


def make_image(
    folder: Path,
    root: bytes = b"root",
    *,
    directory: str = "/",
    kernel: bytes = b"",
    options: Sequence[str] = OPTIONS,
) -> Path:
    """An image whose root holds `root`; `directory` is where its service starts.

    With `kernel`, its bytes and `options`.
    """
    folder.mkdir()
    profile = small_world.profile()
    plan = make_plan(profile, small_world.hardware(), small_world.components())
    service = plan.service.model_copy(update={"directory": directory})
    (folder / PLAN).write_text(to_json(plan.model_copy(update={"service": service})))
    (folder / PROFILE).write_text(write_profile(profile))
    (folder / ROOT).write_bytes(root)
    verity = append_tree(folder / ROOT)
    names = [ROOT, PLAN, PROFILE]
    if kernel:
        (folder / KERNEL).write_bytes(kernel)
        (folder / KERNEL_CONFIG).write_text("".join(f"CONFIG_{name}=y\n" for name in options))
        names += [KERNEL, KERNEL_CONFIG]
    contents = tuple(_content(folder / name) for name in names)
    built = Kernel(source="none", compiler="none", config_sha256="0" * 64, system_calls=400)
    manifest = Manifest(
        name=plan.name,
        onejob="0",
        contents=contents,
        verity=verity,
        packages=(),
        kernel=built if kernel else None,
    )
    (folder / MANIFEST).write_text(to_json(manifest))
    return folder


def _content(path: Path) -> Content:
    data = path.read_bytes()
    return Content(name=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
