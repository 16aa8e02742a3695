"""``onejob build``: Profile + Hardware -> Plan -> Image."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.natives import cache_path
from onejob.builder.image import build_image, image_facts
from onejob.cli.plan import (
    AdministratorOption,
    CoreDumpsOption,
    DeniedChoice,
    DeniedOption,
    HardwareOption,
    LandlockChoice,
    LandlockOption,
    LostOption,
    MemoryChoice,
    MemoryOption,
    NewerOption,
    ProfileArgument,
    TrustChoice,
    TrustOption,
    UnsafeFreeOption,
    choices,
    plan_for,
)
from onejob.cli.show import megabytes, out, print_table, progress
from onejob.model.image import Image
from onejob.model.profile_xml import load_profile, write_profile


def build(
    profile: ProfileArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: NAME.onejob")
    ] = None,
    hardware: HardwareOption = "qemu-microvm",
    without_kernel: Annotated[
        bool, typer.Option("--without-kernel", help="Only for running on a host.")
    ] = False,
    accept_lost_events: LostOption = False,
    trust: TrustOption = TrustChoice.known,
    memory: MemoryOption = MemoryChoice.static,
    unsafe_free: UnsafeFreeOption = False,
    landlock: LandlockOption = LandlockChoice.required,
    administrator: AdministratorOption = None,
    denied: DeniedOption = DeniedChoice.eperm,
    newer_system: NewerOption = False,
    core_dumps: CoreDumpsOption = 0,
) -> None:
    """Build an image: a kernel and a read-only root with only what is needed.

    A kernel with new options takes some minutes; it is kept, and used again
    by every image that needs the same.

    \b
    Examples:
      onejob build nginx.profile.xml -o nginx.onejob
      onejob build nginx.profile.xml --hardware qemu-q35 -o nginx-q35.onejob
    """
    loaded = load_profile(profile)
    plan = plan_for(
        loaded,
        hardware,
        choices(
            accept_lost_events,
            trust,
            memory,
            unsafe_free,
            landlock,
            administrator,
            denied,
            core_dumps,
        ),
        with_kernel=not without_kernel,
        newer=newer_system,
    )
    with progress() as shown:
        image = build_image(
            plan,
            write_profile(loaded),
            output or Path(f"{plan.name}.onejob"),
            with_kernel=not without_kernel,
            cache=cache_path(),
            progress=shown,
        )
    print_image(image)


def print_image(image: Image) -> None:
    """What was built, in figures."""
    facts = image_facts(image)
    rows = [
        ("files", str(facts.files)),
        ("root", megabytes(facts.root_bytes)),
        ("kernel", megabytes(facts.kernel_bytes) if facts.kernel_bytes else "none"),
        ("kernel options", str(len(image.plan.kernel_options))),
        ("system calls allowed", f"{facts.calls} of {facts.kernel_calls or 'all'}"),
        ("malloc", f"{image.plan.memory_manager.kind}: {image.plan.memory_manager.reason}"),
        ("components", ", ".join(name.partition(":")[0] for name in image.plan.components)),
    ]
    print_table(str(image.folder), ("what", "how much"), rows)
    verb = "run" if image.plan.job else "rehearse"
    out.print(f"next: onejob {verb} {image.folder} --on host", soft_wrap=True)
