"""A specialised kernel: the distribution's source, configured from nothing upwards, built, cached.

``build_kernel`` is the whole way. What it calls: ``kernel_source`` (find, unpack),
``kernel_config`` (configure, check that every option is honoured), ``kernel_make`` (compile with
progress), ``kernel_cache`` (finished kernels by content, one build at a time).
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onejob.builder.kernel_cache import BuiltKernel, KernelCache
from onejob.builder.kernel_config import (
    KernelConfig,
    check_options,
    options_text,
    read_config,
    write_config,
)
from onejob.builder.kernel_make import Make, Toolchain, find_toolchain
from onejob.builder.kernel_source import (
    KernelSource,
    SourceArchive,
    find_source,
    kernel_call_count,
    unpack_source,
)
from onejob.model.errors import LacksError
from onejob.model.plan import KernelOption

Progress = Callable[[str, float], None]

# An unpacked 6.12 is 1.6 GB, its object folder 0.3 GB, ccache's share about 0.2 GB.
ROOM_FOR_FIRST_BUILD = 3 * 1024**3
ROOM_FOR_NEXT_BUILD = 512 * 1024**2


@dataclass(frozen=True)
class KernelBuild:
    """One finished kernel in the cache: copy from it, never change it."""

    image: Path
    """The bzImage."""
    config: Path
    """The complete .config that it was built from."""
    release: str
    """Version of the source, e.g. ``6.12.117``."""
    package: str
    """The distribution's package and version that the source came from."""
    compiler: str
    calls: int
    """System calls that this source has for 64-bit programs, before any is refused."""
    cached: bool
    """True where nothing was compiled for this request."""


def build_kernel(
    options: Sequence[KernelOption],
    cache: Path,
    log: Path,
    progress: Progress,
    source_folder: Path = Path("/usr/src"),
) -> KernelBuild:
    """The bzImage that has exactly `options` on top of an empty configuration.

    `cache` may be shared by concurrent callers; `log` gets all that make and the compiler say;
    `progress` is told what happens and the fraction done, 0 to 1. Same options, source and
    compiler: the same bytes, and from the cache.

    Raises LacksError (no source, no compiler, no room) and BuildError (an option the kernel does
    not honour, a compile error). Interrupted at any moment, it leaves no half entry behind.
    """
    progress("looking for the kernel source and the compiler", 0.0)
    archive = find_source(source_folder)
    toolchain = find_toolchain()
    kernels = KernelCache(cache / "kernel")
    request = kernels.request_key(options_text(options), archive.key, toolchain.identity)
    built = kernels.find(request)
    if built is not None:
        return _finished(built, progress, cached=True)
    with kernels.only_builder(lambda: progress("waiting for another kernel build", 0.0)) as lock:
        built = kernels.find(request)
        if built is not None:
            return _finished(built, progress, cached=True)
        source = _source_tree(archive, kernels, progress)
        builder = _Builder(source, kernels, toolchain, log, progress, lock)
        built, cached = builder.build(builder.configure(options))
        return _finished(kernels.remember(request, built), progress, cached=cached)


@dataclass(frozen=True)
class _Builder:
    """Configures and compiles one source, inside the build lock."""

    source: KernelSource
    kernels: KernelCache
    toolchain: Toolchain
    log: Path
    progress: Progress
    lock: int

    def configure(self, options: Sequence[KernelOption]) -> KernelConfig:
        """In a folder of its own: who only configures makes no object older than its options."""
        self.progress("configuring the kernel", 0.04)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        with self._make(self.kernels.configured(self.source.archive.key)) as make:
            write_config(self.source.tree, options, make)
            check_options(options, make.config, self.source, self.toolchain)
            return read_config(make.config)

    def build(self, config: KernelConfig) -> tuple[BuiltKernel, bool]:
        """The kernel of `config`, and whether it was there already."""
        source_key = self.source.archive.key
        key = self.kernels.kernel_key(config.text, source_key, self.toolchain.identity)
        built = self.kernels.find_kernel(key)
        if built is not None:
            return built, True
        with self._make(self.kernels.objects(source_key, config.text)) as make:
            make.config.write_text(config.text)
            make.compile_image(lambda what, part: self.progress(what, 0.05 + 0.94 * part))
            said = about(self.source, self.toolchain)
            return self.kernels.keep(key, make.image, make.config, said), False

    def _make(self, objects: Path) -> Make:
        ccache = self.kernels.ccache
        return Make(self.source.tree, objects, ccache, self.toolchain, self.log, self.lock)


def configure_kernel(
    options: Sequence[KernelOption],
    cache: Path,
    log: Path,
    progress: Progress,
    source_folder: Path = Path("/usr/src"),
) -> KernelConfig:
    """The complete configuration that `options` lead to, checked, without building anything.

    Arguments and errors as of `build_kernel`.
    """
    archive = find_source(source_folder)
    toolchain = find_toolchain()
    kernels = KernelCache(cache / "kernel")
    with kernels.only_builder(lambda: progress("waiting for another kernel build", 0.0)) as lock:
        source = _source_tree(archive, kernels, progress)
        return _Builder(source, kernels, toolchain, log, progress, lock).configure(options)


def source_tree(archive: SourceArchive, kernels: KernelCache, progress: Progress) -> KernelSource:
    """The source tree, to read: unpacked now, inside the build lock, unless it already is."""
    if (kernels.sources / archive.key).exists():
        return unpack_source(archive, kernels.sources)
    with kernels.only_builder(lambda: progress("waiting for a kernel build", 0.0)):
        return _source_tree(archive, kernels, progress)


def _source_tree(archive: SourceArchive, kernels: KernelCache, progress: Progress) -> KernelSource:
    check_room(kernels.folder, archive)
    progress(f"unpacking {archive.path.name}", 0.01)
    return unpack_source(archive, kernels.sources)


def about(source: KernelSource, toolchain: Toolchain) -> dict[str, str | int]:
    """What a cache entry says of itself beyond its bytes."""
    return {
        "release": source.release,
        "package": source.archive.package,
        "compiler": toolchain.compiler,
        "calls": kernel_call_count(source.tree),
    }


def check_room(folder: Path, archive: SourceArchive) -> None:
    """LacksError before the long work rather than in the middle of it."""
    first = not (folder / "sources" / archive.key).exists()
    needed = ROOM_FOR_FIRST_BUILD if first else ROOM_FOR_NEXT_BUILD
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LacksError(
            f"{folder}: {free >> 20} MiB free, a kernel build needs {needed >> 20} MiB",
            hint="free some space, or give a cache folder on another disk",
        )


def _finished(built: BuiltKernel, progress: Progress, *, cached: bool) -> KernelBuild:
    progress("kernel from the cache" if cached else "kernel built", 1.0)
    return KernelBuild(
        image=built.image,
        config=built.config,
        release=str(built.about["release"]),
        package=str(built.about["package"]),
        compiler=str(built.about["compiler"]),
        calls=int(built.about["calls"]),
        cached=cached,
    )
