"""A Component: one OS feature, the kernel options that it brings, and what asks for it.

TOML, data only, in ``components/``; every option and boot argument has its reason on the line.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from onejob.model.errors import InputError
from onejob.model.job import RuleName
from onejob.model.noun import Noun
from onejob.model.plan import Trust
from onejob.model.plan_policy import ArgumentNumber, ArgumentValues, Word
from onejob.model.profile import StartHow
from onejob.model.tomlfile import load_toml

Reason = Annotated[str, Field(min_length=3)]


class CallValue(Noun):
    """A call that succeeded with this value at this place among the profile's (Argument.values)."""

    call: str
    position: ArgumentNumber
    value: Word


class AskedBy(Noun):
    """What asks for a component; any one of these is enough.

    `reachable` are calls that the code can reach, made or not; `reads` are files that the service
    was seen to read, of all `paths` that it asked for; `starts` is what the service starts;
    `policies` are scheduling policies of its threads (sched(7), in lower case). `natives` are parts
    of onejob that the image carries, and `protections` the kernel's that the plan puts to use.
    `buses` are those of the hardware's devices, `disk_buses` those that its fixed disks hang on.
    `drivers` are folders of the kernel source, as patterns: a component takes the drivers of the
    catalogue that are there, for devices that no component's `modaliases` match. `rules` are those
    of a job's workload.
    """

    always: bool = False
    why: str = ""
    sockets: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    modaliases: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    values: tuple[CallValue, ...] = ()
    filesystems: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    processors_min: Annotated[int, Field(ge=1)] | None = None
    policies: tuple[str, ...] = ()
    rotating_disks: bool = False
    starts: tuple[StartHow, ...] = ()
    reachable: tuple[str, ...] = ()
    natives: tuple[str, ...] = ()
    protections: tuple[str, ...] = ()
    buses: tuple[str, ...] = ()
    disk_buses: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    firmwares: tuple[Literal["none", "bios", "uefi"], ...] = ()
    hypervisors: tuple[str, ...] = ()
    rules: tuple[RuleName, ...] = ()


class Size(Noun):
    """The dimension that a kernel option decides, and what it makes of it."""

    name: str
    value: str
    unit: str = ""


class Option(Noun):
    """A kernel option without its ``CONFIG_``; `dimension` where it decides the size of one."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
    value: str = "y"
    why: Reason
    dimension: Size | None = None


class BootArgument(Noun):
    """A word of the kernel's command line."""

    value: Annotated[str, Field(pattern=r"^[!-~]+$")]
    why: Reason


class AllowedCall(Noun):
    """A system call that is allowed though no profile shows it.

    `function` is the function of the C library that makes it, where one does; `arguments` are the
    values with which it does, of a call whose arguments are checked. With `phase` only a program
    that starts may make it, and not what it becomes.
    """

    name: str
    why: Reason
    function: str = ""
    phase: Literal["boot", ""] = ""
    arguments: tuple[ArgumentValues, ...] = ()

    @property
    def reason(self) -> str:
        """Why it is allowed, by whom it is made first."""
        return f"libc: {self.function}: {self.why}" if self.function else self.why


class CallCheck(Noun):
    """A call whose arguments are compared, under masks, with what the profile shows.

    `arguments` are numbered from 0, in the order of the profile's facts (Argument.values), which
    may have more. `harmless` values are allowed to whoever may make the call at all.
    """

    call: str
    arguments: Annotated[tuple[ArgumentNumber, ...], Field(min_length=1)]
    masks: tuple[Word, ...]
    harmless: tuple[ArgumentValues, ...] = ()
    why: Reason

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        for row in (self.masks, *self.harmless):
            if len(row) != len(self.arguments):
                raise ValueError(f"{self.call}: {len(self.arguments)} arguments, but {len(row)}")
        return self


class MoreArguments(Noun):
    """Values that a checked call may have too, wherever it is allowed at all."""

    call: str
    values: Annotated[tuple[ArgumentValues, ...], Field(min_length=1)]
    function: str = ""
    why: Reason


class CallAnswer(Noun):
    """A call that is answered with an error, upon which `instead` is made with the same flags.

    Not where the profile shows one of the flags `unless`.
    """

    call: str
    errno: Literal["ENOSYS"]
    instead: str
    unless: Word = 0
    why: Reason


class LeaveOut(Noun):
    """A pattern of paths that an image does without unless the service was seen to execute them."""

    path: Annotated[str, Field(pattern=r"^[*/]")]
    why: Reason


class SystemFile(Noun):
    """A pattern of paths that are the operating system's: they may be newer than the profile."""

    path: Annotated[str, Field(pattern=r"^[*/]")]
    why: Reason


class Sysctl(Noun):
    """A kernel setting written at boot."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$")]
    value: str
    why: Reason


class Component(Noun):
    """One feature of the system.

    What is given in `requires` has to hold besides. `trust` is the least ``--trust`` that takes it.
    """

    name: str
    summary: str
    trust: Trust = "observed"
    asked_by: AskedBy = AskedBy()
    requires: AskedBy = AskedBy()
    option: tuple[Option, ...] = ()
    boot_argument: tuple[BootArgument, ...] = ()
    call: tuple[AllowedCall, ...] = ()
    check: tuple[CallCheck, ...] = ()
    more_arguments: tuple[MoreArguments, ...] = ()
    answer: tuple[CallAnswer, ...] = ()
    sysctl: tuple[Sysctl, ...] = ()
    leave_out: tuple[LeaveOut, ...] = ()
    system_file: tuple[SystemFile, ...] = ()


def load_components(folder: Path) -> tuple[Component, ...]:
    """All components of `folder`, by name. InputError names file and line."""
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise InputError(f"no components in {folder}")
    components = tuple(load_toml(path, Component, "component") for path in paths)
    for path, component in zip(paths, components, strict=True):
        if component.name != path.stem:
            raise InputError(f"{path}: named {component.name!r}, must be as its file")
    return components
