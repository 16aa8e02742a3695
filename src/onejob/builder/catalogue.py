"""The catalogue of drivers: from the distribution's kernel package and the kernel source.

The package says which module drives which device; the source's Makefiles, which option builds that
module; its Kconfig, what that option needs. Made once for each source, kept in the cache.
"""

import hashlib
from pathlib import Path

from onejob.base.files import write_atomically
from onejob.base.progress import Progress
from onejob.builder.kbuild import option_of
from onejob.builder.kconfig import read_kconfig
from onejob.builder.kconfig_needs import NeedsSolver
from onejob.builder.kernel import source_tree
from onejob.builder.kernel_cache import KernelCache
from onejob.builder.kernel_make import find_toolchain
from onejob.builder.kernel_source import KernelSource, SourceArchive, find_source
from onejob.builder.module_package import Module, fetched, find_kernel_package, read_modules
from onejob.model.catalogue import Catalogue, Driver
from onejob.model.errors import InputError
from onejob.model.jsonfile import load_json

# Changes with what is read from package and source; part of the catalogue's name in the cache.
_RULES = "1"
SOURCES = Path("/usr/src")


def cached_catalogue(cache: Path, source_folder: Path = SOURCES) -> Catalogue | None:
    """The catalogue of the newest source, if it was made before. LacksError without a source."""
    return _read(_place(cache, find_source(source_folder)))


def make_catalogue(cache: Path, progress: Progress, source_folder: Path = SOURCES) -> Catalogue:
    """The catalogue of the newest kernel source: from the cache, or made, about a minute.

    Downloads the kernel package, some 100 MB, and keeps nothing of it but the catalogue. Raises
    LacksError (no source, no compiler to ask Kconfig with, no such package, no network).
    """
    archive = find_source(source_folder)
    place = _place(cache, archive)
    known = _read(place)
    if known is not None:
        return known
    progress.stage("catalogue of drivers")
    compiler = find_toolchain().compiler
    source = source_tree(archive, KernelCache(cache / "kernel"), progress.step)
    place.parent.mkdir(parents=True, exist_ok=True)
    package = find_kernel_package(archive.package)
    progress.step(f"fetching {package.name}")
    with fetched(package, place.parent) as file:
        modules = read_modules(file, lambda part: progress.step("modules", part))
    progress.step("Makefiles and Kconfig")
    drivers = make_drivers(modules, source, compiler)
    about = f"{package.name} {package.version}"
    made = Catalogue(kernel=source.release, package=about, drivers=drivers)
    write_atomically(place, made.model_dump_json(exclude_defaults=True).encode())
    return made


def make_drivers(
    modules: tuple[Module, ...], source: KernelSource, compiler: str
) -> tuple[Driver, ...]:
    """The drivers among `modules`; those that the source does not build are the distribution's."""
    solver = NeedsSolver(read_kconfig(source, compiler))
    found = []
    for module in modules:
        option, makefile = option_of(module.name, module.folder, source.tree)
        if option:
            found.append(_driver(module, option, makefile, solver))
    return tuple(found)


def _driver(module: Module, option: str, makefile: str, solver: NeedsSolver) -> Driver:
    needs = solver.needs(option)
    return Driver(
        module=module.name,
        option=option,
        source=module.folder,
        makefile=makefile,
        aliases=module.aliases,
        needs=needs or (),
        firmware=module.firmware,
        conflict="" if needs is not None else f"Kconfig leaves no way to {option}=y, built in",
    )


def _place(cache: Path, archive: SourceArchive) -> Path:
    key = hashlib.sha256(f"{archive.key} {_RULES}".encode()).hexdigest()[:16]
    return cache / "kernel" / "catalogues" / f"{key}.json"


def _read(place: Path) -> Catalogue | None:
    """What the cache has; a damaged file is made anew."""
    try:
        return load_json(place, Catalogue, "catalogue of drivers")
    except InputError:
        return None
