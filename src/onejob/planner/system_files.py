"""Which files of a profile are the operating system's: libraries and the like that may be renewed.

The rest is the service: what it executed and what came with that, its configuration, its plug-ins
and its data. Those are what was profiled; a newer one may need anything.
"""

import posixpath
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from onejob.model.component import Component
from onejob.model.paths import is_below, resolve
from onejob.model.profile import FileUse, Profile
from onejob.planner.files import needed_by

# Where the loader itself looks for libraries (ld.so(8)), after the links.
_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib/x86_64-linux-gnu",
                    "/lib64", "/lib")  # fmt: skip


def system_files(profile: Profile, components: Sequence[Component]) -> Mapping[str, str]:
    """Path -> why it is the system's, of the files and symbolic links of `profile`.

    What no rule names is the service's. `components` bring the rules for data.
    """
    rules = [(rule.path, rule.why) for part in components for rule in part.system_file]
    own, users = service_packages(profile), needed_by(profile)
    files = [file for file in profile.files if file.kind in ("file", "symlink")]
    found: dict[str, str] = {}
    for file in files:
        if package_of(file) in own or file.origin == "user":
            continue
        if why := _rule(file.path, rules) or _library(file, users.get(file.path, ())):
            found[file.path] = why
    found |= _of_the_same_packages(files, found)
    return found | _links_to(files, found, own)


def service_packages(profile: Profile) -> frozenset[str]:
    """The packages, without versions, of the programs that were executed."""
    loaders = {file.interpreter for file in profile.files if file.interpreter}
    links = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    loaders |= {step for path in loaders for step in resolve(path, links)}
    return frozenset(
        package_of(file)
        for file in profile.files
        if file.path not in loaders
        and (file.path == profile.program or any(use.how == "executed" for use in file.uses))
    ) - {""}


def package_of(file: FileUse) -> str:
    """The name of its package; empty where no package brought it."""
    return file.package.partition("=")[0]


def _rule(path: str, rules: list[tuple[str, str]]) -> str:
    return next((why for pattern, why in rules if fnmatchcase(path, pattern)), "")


def _library(file: FileUse, users: Sequence[str]) -> str:
    """Why it is a shared library of the system; a library that no package brought is not."""
    package, (folder, name) = package_of(file), posixpath.split(file.path)
    if not package or ".so" not in name or is_below(file.path, "/etc"):
        return ""
    if users:
        return f"library of {package}, needed by {users[0]}"
    if folder in _LIBRARY_FOLDERS:
        return f"library of {package}, in a folder that the loader searches"
    return ""


def _of_the_same_packages(files: list[FileUse], found: Mapping[str, str]) -> dict[str, str]:
    """What comes with a library (its modules, tables), but for configuration."""
    packages: dict[str, str] = {}
    for file in files:
        if file.path in found and package_of(file):
            packages.setdefault(package_of(file), file.path)
    return {
        file.path: f"of {package_of(file)}, as {packages[package_of(file)]}"
        for file in files
        if package_of(file) in packages
        and file.path not in found
        and file.origin != "user"
        and not is_below(file.path, "/etc")
    }


def _links_to(
    files: list[FileUse], found: Mapping[str, str], own: frozenset[str]
) -> dict[str, str]:
    """The packages' links that end at a file of the system; not those to folders."""
    links = {file.path: file.target for file in files if file.kind == "symlink"}
    named: dict[str, str] = {}
    for path in links:
        end = resolve(path, links)[-1]
        if end in found and path not in found:
            named[path] = f"link to {end}"
    return {
        file.path: named[file.path]
        for file in files
        if file.path in named and package_of(file) and package_of(file) not in own
    }
