"""Image + this hardware -> the image for this hardware: planned anew, nothing compiled."""

from pathlib import Path

from onejob.base.natives import data_path
from onejob.base.progress import Progress
from onejob.builder.from_image import check_files, rebuild_image
from onejob.builder.prepared import choose_kernel, options_beyond
from onejob.installer.kit import KernelsAtHand
from onejob.model.catalogue import Catalogue
from onejob.model.component import load_components
from onejob.model.hardware import Hardware
from onejob.model.image import Image
from onejob.model.plan import Plan
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from onejob.planner.choices import choices_of
from onejob.planner.drivers import needs_catalogue
from onejob.planner.plan import make_plan
from onejob.planner.renewed import as_renewed

# Of kernels that brought none along: so it is said what has no driver.
_NO_CATALOGUE = Catalogue(kernel="", package="", drivers=())


def make_image(
    image: Image, hardware: Hardware, kernels: KernelsAtHand, folder: Path, progress: Progress
) -> Image:
    """The image of the same service for `hardware`, at `folder`.

    Raises InputError (the hardware does not fit the service, lacks a driver, or the image is one of
    another binary than its profile) and BuildError (no prepared kernel fits).
    """
    progress.stage("plan")
    profile = load_profile(image.profile)
    plan = plan_anew(image.plan, profile, hardware, kernels)
    for warning in plan.warnings:
        progress.note(warning)
    check_files(image, plan)
    chosen = choose_kernel(plan.kernel_options, kernels.prepared())
    progress.stage("kernel")
    kernel, asked = kernels.bring(chosen.name)
    beyond = options_beyond(plan.kernel_options, asked)
    progress.note(f"{chosen.name}, with {len(beyond)} options that are not needed here")
    if beyond:
        progress.note(", ".join(beyond))
    return rebuild_image(image, plan, image.profile.read_text(), kernel, folder, progress)


def plan_anew(before: Plan, profile: Profile, hardware: Hardware, kernels: KernelsAtHand) -> Plan:
    """The plan of `profile` for `hardware`, with the choices that `before` was made with."""
    components = load_components(data_path("components"))
    catalogue = None
    if needs_catalogue(hardware, components):
        catalogue = kernels.catalogue() or _NO_CATALOGUE
    facts = as_renewed(profile, before)
    made = make_plan(facts, hardware, components, choices_of(before), catalogue)
    return made.model_copy(update={"renewed": before.renewed})
