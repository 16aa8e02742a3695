"""The Image: a folder ``NAME.onejob/`` with kernel, read-only root, plan, profile and manifest."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from onejob.model.errors import InputError
from onejob.model.jsonfile import load_json
from onejob.model.noun import Noun
from onejob.model.plan import Plan, RenewedFile
from onejob.model.profile import Package

MANIFEST = "manifest.json"
PLAN = "plan.json"
PROFILE = "profile.xml"
ROOT = "root.img"
KERNEL = "kernel"
KERNEL_CONFIG = "kernel.config"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Sha256 = Digest
VerityHash = Literal["sha256", "blake2b-256"]


class Content(Noun):
    """A file of the image folder."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.]{0,40}$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Verity(Noun):
    """dm-verity's parameters of root.img: data blocks, then the hash tree (no superblock).

    `algorithm` has the kernel's name; images of earlier versions do not tell theirs.
    """

    algorithm: VerityHash = "sha256"
    block_size: Literal[4096] = 4096
    data_blocks: Annotated[int, Field(ge=1)]
    hash_start: Annotated[int, Field(ge=1)]
    root_hash: Digest
    salt: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){0,256}$")]


class Kernel(Noun):
    """The built kernel: its source, and how many system calls that source has."""

    source: str
    compiler: str
    config_sha256: Sha256
    system_calls: int


class PackageLicences(Noun):
    """Under which licences a package is, by the short names that its copyright file has."""

    package: str
    licences: tuple[str, ...]


class Manifest(Noun):
    """What the folder holds. `kernel` is absent in an image that only runs on a host.

    `renewed` are the files of the root that are newer than the profile.
    """

    format: Literal[1] = 1
    name: str
    onejob: str
    contents: tuple[Content, ...]
    verity: Verity
    kernel: Kernel | None
    packages: tuple[Package, ...]
    licences: tuple[PackageLicences, ...] = ()
    renewed: tuple[RenewedFile, ...] = ()


class Image(Noun):
    """An image folder that was opened and checked."""

    folder: Path
    manifest: Manifest
    plan: Plan

    @property
    def root(self) -> Path:
        """The root file system with its verity tree."""
        return self.folder / ROOT

    @property
    def kernel(self) -> Path:
        """The kernel; InputError where the image was built without one."""
        if self.manifest.kernel is None:
            hint = f"build it whole: onejob build {self.folder / PROFILE} -o {self.folder}"
            raise InputError(f"image {self.folder} has no kernel", hint)
        return self.folder / KERNEL

    @property
    def profile(self) -> Path:
        """The profile that it was built from."""
        return self.folder / PROFILE


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_image(folder: Path) -> Image:
    """Open `folder`; InputError where it is no image, or its parts do not fit together."""
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is not an image", "make one with: onejob build PROFILE")
    manifest = load_json(folder / MANIFEST, Manifest, "manifest")
    kernel = {KERNEL} if manifest.kernel else set()
    if absent := {PLAN, PROFILE, ROOT, *kernel} - {content.name for content in manifest.contents}:
        raise InputError(f"image {folder}: its manifest lacks {', '.join(sorted(absent))}")
    for content in manifest.contents:
        path = folder / content.name
        if not path.is_file() or path.is_symlink() or path.stat().st_size != content.size:
            raise InputError(f"image {folder}: {content.name} is missing or not whole")
        # The root may be large and has hashes of its own: see dm-verity, check_root.
        if content.name != ROOT and _sha256(path) != content.sha256:
            hint = f"build it again: onejob build {PROFILE}"
            raise InputError(f"image {folder}: {content.name} is not what the manifest says", hint)
    plan = load_json(folder / PLAN, Plan, "plan")
    if plan.name != manifest.name:
        raise InputError(f"image {folder}: plan of {plan.name!r}, manifest of {manifest.name!r}")
    return Image(folder=folder, manifest=manifest, plan=plan)
