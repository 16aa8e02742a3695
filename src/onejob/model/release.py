"""What a repository holds of one image, profile or kernel: its releases, the newest last."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from onejob.model.errors import InputError
from onejob.model.image import KERNEL, KERNEL_CONFIG, MANIFEST, PROFILE, Content, Kernel
from onejob.model.noun import Noun
from onejob.model.plan import KernelOption
from onejob.model.workload import NAME_PATTERN

Kind = Literal["image", "profile", "kernel"]

SUFFIXES: dict[Kind, str] = {
    "image": ".onejob",
    "profile": ".profile.xml",
    "kernel": ".kernel",
}
# Of a kernel: its KernelAbout, and the drivers of the source that it was built from.
ABOUT, CATALOGUE = "about.json", "catalogue.json"
MOST_RELEASES = 1000
MOST_PARTS = 32


def _distinct(parts: tuple[Content, ...]) -> tuple[Content, ...]:
    if len({part.name for part in parts}) != len(parts):
        raise ValueError("two parts have the same name")
    return parts


Parts = Annotated[
    tuple[Content, ...],
    Field(min_length=1, max_length=MOST_PARTS),
    AfterValidator(_distinct),
]


class Release(Noun):
    """One version: its files, each by size and SHA-256; `pushed` is a time in UTC (ISO 8601)."""

    version: Annotated[int, Field(ge=1)]
    pushed: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    parts: Parts

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(part.size for part in self.parts)


def _ascending(releases: tuple[Release, ...]) -> tuple[Release, ...]:
    versions = [release.version for release in releases]
    if versions != sorted(set(versions)):
        raise ValueError("versions do not ascend")
    return releases


class KernelAbout(Noun):
    """A kernel by itself: what a manifest says of it, and the options that its plan asked for."""

    kernel: Kernel
    options: tuple[KernelOption, ...]


def _fits(kind: Kind, names: set[str]) -> bool:
    """Whether parts of these names can be a `kind`."""
    match kind:
        case "profile":
            return names == {PROFILE}
        case "kernel":
            return names - {CATALOGUE} == {KERNEL, KERNEL_CONFIG, ABOUT}
        case _:
            return MANIFEST in names


class History(Noun):
    """All releases of one image, profile or kernel, by ascending version."""

    format: Literal[1] = 1
    kind: Kind
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    releases: Annotated[
        tuple[Release, ...],
        Field(min_length=1, max_length=MOST_RELEASES),
        AfterValidator(_ascending),
    ]

    @property
    def target(self) -> str:
        """Its name in a repository."""
        return self.name + SUFFIXES[self.kind]

    @property
    def newest(self) -> Release:
        """The release with the highest version."""
        return self.releases[-1]

    def release(self, version: int | None) -> Release:
        """That version, or the newest; InputError where it is not there, or not of this kind."""
        found = [each for each in self.releases if version in (None, each.version)]
        if not found:
            kept = f"{self.releases[0].version} to {self.newest.version}"
            raise InputError(f"{self.target} has no version {version}", f"it has {kept}")
        if not _fits(self.kind, {part.name for part in found[-1].parts}):
            raise InputError(f"{self.target}: version {found[-1].version} is no {self.kind}")
        return found[-1]
