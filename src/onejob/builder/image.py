"""Plan -> Image: the build, step by step. ``build_image`` is the whole way."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from onejob import __version__
from onejob.base.linux import need_root
from onejob.base.placement import check_destination, put_in_place, set_rights, workshop
from onejob.base.progress import Progress
from onejob.builder.kernel import KernelBuild, build_kernel
from onejob.builder.licences import package_licences
from onejob.builder.root import build_root, generated_paths
from onejob.model.image import (
    KERNEL,
    KERNEL_CONFIG,
    MANIFEST,
    PLAN,
    PROFILE,
    ROOT,
    Content,
    Image,
    Kernel,
    Manifest,
    PackageLicences,
    Verity,
    open_image,
)
from onejob.model.jsonfile import to_json
from onejob.model.plan import Plan, PlannedFile
from onejob.model.profile import Package


def build_image(
    plan: Plan,
    profile_xml: str,
    destination: Path,
    *,
    with_kernel: bool,
    cache: Path,
    progress: Progress,
) -> Image:
    """Build the image of `plan` at `destination`, replacing an image that is there.

    It is built beside its place and moved there when it is whole, so that whatever happens
    there is the old image or the new one. Same plan, same host, same bytes. `cache` keeps built
    kernels and the kernel build's log.

    Raises InputError (`destination` is something else), LacksError (rights, tools, space) and
    BuildError (the host is not what was profiled, the plan cannot be, the kernel does not build).
    """
    need_root("building an image")
    destination = destination.absolute()
    check_destination(destination)
    with workshop(destination) as shop:
        folder = shop / "image"
        folder.mkdir()
        progress.stage("root")
        verity = build_root(plan, shop / "tree", folder / ROOT, progress)
        kernel = None
        if with_kernel:
            progress.stage("kernel")
            kernel = add_kernel(plan, folder, cache, progress)
        progress.stage("image")
        licences = package_licences(package.name for package in kept_packages(plan.files))
        add_papers(plan, profile_xml, folder, verity, kernel, licences)
        set_rights(folder)
        put_in_place(folder, destination)
    return open_image(destination)


def add_kernel(plan: Plan, folder: Path, cache: Path, progress: Progress) -> Kernel:
    """The specialised kernel, from the cache or built now, with its configuration."""
    log = cache / "logs" / f"kernel-{plan.name}.log"
    build = build_kernel(plan.kernel_options, cache, log, progress.step)
    shutil.copyfile(build.image, folder / KERNEL)
    shutil.copyfile(build.config, folder / KERNEL_CONFIG)
    return describe_kernel(build)


def describe_kernel(build: KernelBuild) -> Kernel:
    """What the manifest says of a built kernel."""
    return Kernel(
        source=build.package,
        compiler=build.compiler,
        config_sha256=file_sha256(build.config),
        system_calls=build.calls,
    )


def add_papers(
    plan: Plan,
    profile_xml: str,
    folder: Path,
    verity: Verity,
    kernel: Kernel | None,
    licences: Iterable[PackageLicences],
) -> None:
    """The plan, the profile that it came from, and the manifest of all that."""
    (folder / PLAN).write_bytes(to_json(plan).encode())
    (folder / PROFILE).write_bytes(profile_xml.encode())
    names = [ROOT, PLAN, PROFILE] + ([KERNEL, KERNEL_CONFIG] if kernel else [])
    manifest = Manifest(
        name=plan.name,
        onejob=__version__,
        contents=tuple(describe_content(folder / name) for name in names),
        verity=verity,
        kernel=kernel,
        packages=kept_packages(plan.files),
        licences=tuple(licences),
        renewed=plan.renewed,
    )
    (folder / MANIFEST).write_bytes(to_json(manifest).encode())


def describe_content(path: Path) -> Content:
    """Size and hash of a file of the image."""
    return Content(name=path.name, size=path.stat().st_size, sha256=file_sha256(path))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_packages(files: Iterable[PlannedFile]) -> tuple[Package, ...]:
    """The packages that files of the root come from; `paths` counts the entries kept of each."""
    counts = Counter(file.package for file in files if file.package)
    named = [(*package.partition("=")[::2], count) for package, count in sorted(counts.items())]
    return tuple(Package(name=name, version=version, paths=n) for name, version, n in named)


@dataclass(frozen=True)
class ImageFacts:
    """The figures of an image that people ask for first."""

    files: int
    """Regular files and symbolic links in the root."""
    root_bytes: int
    """The root with its hash tree."""
    kernel_bytes: int | None
    """None in an image without a kernel."""
    calls: int
    """System calls that the policy allows."""
    kernel_calls: int | None
    """System calls that the kernel's source has."""

    @property
    def bytes(self) -> int:
        """Kernel and root together."""
        return self.root_bytes + (self.kernel_bytes or 0)


def image_facts(image: Image) -> ImageFacts:
    """The figures of `image`."""
    sizes = {content.name: content.size for content in image.manifest.contents}
    kernel = image.manifest.kernel
    planned = [file for file in image.plan.files if file.kind != "directory"]
    return ImageFacts(
        files=len(planned) + len(generated_paths(image.plan)),
        root_bytes=sizes[ROOT],
        kernel_bytes=sizes[KERNEL] if kernel else None,
        calls=len({call.number for call in image.plan.calls}),
        kernel_calls=kernel.system_calls if kernel else None,
    )
