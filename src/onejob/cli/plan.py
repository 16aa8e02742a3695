"""``onejob plan``: Profile + Hardware + components -> Plan."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.base.natives import cache_path, data_path
from onejob.cli.show import err, out, progress
from onejob.model.catalogue import Catalogue
from onejob.model.component import load_components
from onejob.model.errors import BuildError, InputError, LacksError
from onejob.model.hardware import Hardware, load_hardware
from onejob.model.jsonfile import to_json
from onejob.model.plan import Administrator, Plan
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from onejob.planner.choices import Choices
from onejob.planner.drivers import needs_catalogue
from onejob.planner.plan import make_plan
from onejob.survey.source import LocalSource, local_architecture
from onejob.survey.survey import survey_machine


class TrustChoice(StrEnum):
    """Which of a profile's facts make the image."""

    observed = "observed"
    known = "known"
    union = "union"


class DeniedChoice(StrEnum):
    """What becomes of whoever makes a call that it may not."""

    eperm = "eperm"
    kill = "kill"
    audit = "audit"


class MemoryChoice(StrEnum):
    """Who serves malloc in the image."""

    static = "static"
    none = "none"


class LandlockChoice(StrEnum):
    """What becomes of the start where the kernel has no Landlock."""

    required = "required"
    optional = "optional"
    none = "none"


READY_HARDWARE = ("qemu-microvm", "qemu-q35", "qemu-q35-uefi", "pc")

ProfileArgument = Annotated[Path, typer.Argument(metavar="PROFILE", help="A profile (XML).")]
HardwareOption = Annotated[
    str, typer.Option("--hardware", help=f"{', '.join(READY_HARDWARE)}, this, or a file.")
]
LostOption = Annotated[
    bool, typer.Option("--accept-lost-events", help="Plan although events were lost.")
]

TrustOption = Annotated[
    TrustChoice,
    typer.Option("--trust", help="Only what was observed; what is known; what code reaches."),
]

DeniedOption = Annotated[
    DeniedChoice,
    typer.Option("--denied", help="A denied call fails, kills its process, or is only counted."),
]

MemoryOption = Annotated[
    MemoryChoice,
    typer.Option("--memory", help="Arrays of blocks laid out at the start; each program's own."),
]
UnsafeFreeOption = Annotated[
    bool, typer.Option("--unsafe-free", help="Count wrong frees, and let them pass.")
]
LandlockOption = Annotated[
    LandlockChoice,
    typer.Option("--landlock", help="Each program to its own files: needed, if there, or not."),
]

AdministratorOption = Annotated[
    Path | None,
    typer.Option("--administrator", help="Public key (PEM) of who may shut the system down."),
]
NewerOption = Annotated[
    bool,
    typer.Option("--newer-system", help="Libraries and the like as this host has them now."),
]

CoreDumpsOption = Annotated[
    int,
    typer.Option(
        "--core-dumps", min=0, max=100, help="Keep so many core files, of failed processes."
    ),
]


def plan(
    profile: ProfileArgument,
    hardware: HardwareOption = "qemu-microvm",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: standard output.")
    ] = None,
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
    """Decide everything about an image, each decision with its reason.

    \b
    Examples:
      onejob plan nginx.profile.xml
      onejob plan nginx.profile.xml --hardware qemu-q35 -o nginx.plan.json
    """
    loaded = load_profile(profile)
    made = plan_for(
        loaded,
        hardware,
        choices(
            accept_lost_events, trust, memory, unsafe_free, landlock, administrator, denied,
            core_dumps,
        ),
        newer=newer_system,
    )  # fmt: skip
    if output is None:
        out.file.write(to_json(made))
    else:
        write_atomically(output, to_json(made).encode())


def choices(
    accept_lost: bool,
    trust: TrustChoice,
    memory: MemoryChoice,
    unsafe_free: bool,
    landlock: LandlockChoice,
    administrator: Path | None,
    denied: DeniedChoice,
    core_dumps: int,
) -> Choices:
    """The options of whoever plans, as the planner takes them."""
    return Choices(
        accept_lost=accept_lost,
        trust=trust.value,
        memory=memory.value,
        unsafe_free=unsafe_free,
        landlock=landlock.value,
        denied=denied.value,
        administrator=None if administrator is None else _administrator(administrator),
        core_dumps=core_dumps,
    )


def plan_for(
    profile: Profile,
    hardware: str | Hardware,
    choices: Choices,
    *,
    with_kernel: bool = True,
    newer: bool = False,
) -> Plan:
    """The plan, its warnings shown. Without a kernel, nobody has to find drivers for it.

    `newer`: with the files of the system as this host has them.
    """
    components = load_components(data_path("components"))
    machine = find_hardware(hardware) if isinstance(hardware, str) else hardware
    catalogue, lack = None, ""
    if with_kernel and needs_catalogue(machine, components):
        catalogue, lack = _find_catalogue()

    def plan_of(facts: Profile) -> Plan:
        return make_plan(facts, machine, components, choices, catalogue)

    if newer:
        from onejob.cli.newer import newer_plan  # the profiler takes long to import

        made = newer_plan(profile, components, plan_of)
    else:
        made = plan_of(profile)
    if lack:
        made = made.model_copy(update={"warnings": (*made.warnings, lack)})
    for warning in made.warnings:
        err.print(f"onejob: note: {warning}", markup=False, soft_wrap=True)
    return made


def _find_catalogue() -> tuple[Catalogue | None, str]:
    """The catalogue of drivers; where it cannot be had, what the plan lacks by that."""
    from onejob.builder.catalogue import make_catalogue  # only for machines with other devices

    try:
        with progress() as shown:
            return make_catalogue(cache_path(), shown), ""
    except (LacksError, BuildError) as error:
        return None, f"no driver for devices that no component knows: no catalogue: {error.what}"


def _administrator(path: Path) -> Administrator:
    from onejob.system.administer import read_public_key  # its library takes long to import

    return Administrator(key=read_public_key(path), reason=f"--administrator {path.name}")


def find_hardware(name: str) -> Hardware:
    """A ready hardware file by name, this machine, or a hardware file."""
    if name in READY_HARDWARE:
        return load_hardware(data_path("hardware") / f"{name}.json")
    if name == "this":
        return survey_machine(LocalSource(), "this", local_architecture())
    if not Path(name).is_file():
        known = ", ".join((*READY_HARDWARE, "this"))
        raise InputError(f"no hardware {name!r}", f"give one of {known}, or a hardware file")
    return load_hardware(Path(name))
