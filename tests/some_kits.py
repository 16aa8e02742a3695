"""Kits: a repository with a small service's image and prepared kernels, made without compiling any.

The image is planned and built as usual; its kernels are a few bytes with a .config that has what
some hardware's plan asks for, which is all that whoever chooses among them looks at.
"""

from pathlib import Path

import built_plans
from integration.small_image import LOG, profile_of
from onejob.base.natives import data_path
from onejob.base.progress import Quiet
from onejob.bench.stand_in import with_kernel
from onejob.builder.image import build_image
from onejob.model.component import load_components
from onejob.model.hardware import Hardware, load_hardware
from onejob.model.image import Image
from onejob.model.profile import FileUse, Profile, Use
from onejob.model.profile_xml import write_profile
from onejob.planner.choices import Choices
from onejob.planner.plan import make_plan

LOST = Choices(accept_lost=True)


def ready_hardware(name: str) -> Hardware:
    """One of the hardware files that come with onejob."""
    return load_hardware(data_path("hardware") / f"{name}.json")


def profile_for(program: Path) -> Profile:
    """A profile of the static service at `program`, as whoever saw it now would write it."""
    planned = built_plans.host_file(program)
    use = Use(program=str(program), drill="serve", how="executed", count=1)
    logs = Use(program=str(program), drill="serve", how="created", count=1)
    whole = profile_of(program, "", 200)
    file = FileUse(
        path=str(program), kind="file", size=planned.size, mode=planned.mode,
        sha256=planned.sha256, uses=(use,),
    )  # fmt: skip
    log = FileUse(path=LOG, kind="file", existed=False, uses=(logs,))
    return whole.model_copy(update={"files": (file, log)})


def build_for(profile: Profile, hardware: Hardware, place: Path) -> Image:
    """The image of `profile` for `hardware`, with a kernel that only its .config speaks for."""
    plan = make_plan(profile, hardware, load_components(data_path("components")), LOST)
    image = build_image(
        plan, write_profile(profile), place,
        with_kernel=False, cache=place.parent / "cache", progress=Quiet(),
    )  # fmt: skip
    return with_kernel(image, plan.kernel_options)
