"""Images that can be opened and checked, but not run: a root of chance blocks with its tree."""

import hashlib
from pathlib import Path

import small_world
from onejob.builder.verity import append_tree
from onejob.model.image import MANIFEST, PLAN, PROFILE, ROOT, Content, Manifest
from onejob.model.jsonfile import to_json
from onejob.model.profile_xml import write_profile
from onejob.planner.plan import make_plan

NAME = "keeper"


def make_image(folder: Path, root: bytes = b"root", *, directory: str = "/") -> Path:
    """An image whose root holds `root`; `directory` is where its service starts."""
    folder.mkdir()
    profile = small_world.profile()
    plan = make_plan(profile, small_world.hardware(), small_world.components())
    service = plan.service.model_copy(update={"directory": directory})
    (folder / PLAN).write_text(to_json(plan.model_copy(update={"service": service})))
    (folder / PROFILE).write_text(write_profile(profile))
    (folder / ROOT).write_bytes(root)
    verity = append_tree(folder / ROOT)
    contents = tuple(_content(folder / name) for name in (ROOT, PLAN, PROFILE))
    manifest = Manifest(
        name=plan.name, onejob="0", contents=contents, verity=verity, kernel=None, packages=()
    )
    (folder / MANIFEST).write_text(to_json(manifest))
    return folder


def _content(path: Path) -> Content:
    data = path.read_bytes()
    return Content(name=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
