"""A Component: one OS feature, the kernel options that it brings, and what asks for it.

TOML, data only, in ``components/``; every option and boot argument has its reason on the line.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from onejob.model.errors import InputError
from onejob.model.noun import Noun
from onejob.model.plan import Trust
from onejob.model.profile import StartHow
from onejob.model.tomlfile import load_toml

Reason = Annotated[str, Field(min_length=3)]


class AskedBy(Noun):
    """What asks for a component; any one of these is enough.

    `reachable` are calls that the code can reach, made or not; `starts` is what the service starts;
    `policies` are scheduling policies of its threads (sched(7), in lower case). `natives` are parts
    of onejob that the image carries.
    """

    always: bool = False
    why: str = ""
    sockets: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    modaliases: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    filesystems: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    processors_min: Annotated[int, Field(ge=1)] | None = None
    policies: tuple[str, ...] = ()
    rotating_disks: bool = False
    starts: tuple[StartHow, ...] = ()
    reachable: tuple[str, ...] = ()
    natives: tuple[str, ...] = ()


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

    `function` is the function of the C library that makes it, where one does. With `phase` only a
    program that starts may make it, and not what it becomes.
    """

    name: str
    why: Reason
    function: str = ""
    phase: Literal["boot", ""] = ""

    @property
    def reason(self) -> str:
        """Why it is allowed, by whom it is made first."""
        return f"libc: {self.function}: {self.why}" if self.function else self.why


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
    sysctl: tuple[Sysctl, ...] = ()


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
