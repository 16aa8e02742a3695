"""Which paths each program may look for in vain without being an observation for it."""

from collections.abc import Iterable, Iterator, Mapping, Set

from onejob.model.absent import AbsentPaths
from onejob.model.file_uses import is_written
from onejob.model.paths import is_below, is_pseudo, resolve
from onejob.model.plan import LeftOut, Mount
from onejob.model.profile import FileUse, Profile

_WRITABLE = ("data", "tmpfs")
_REASON = "looked for in vain when profiled, left out of the image, or where files come and go"


def plan_absent(
    profile: Profile, programs: Set[str], mounts: Iterable[Mount], left_out: Iterable[LeftOut]
) -> tuple[AbsentPaths, ...]:
    """Those of each of `programs`, by program and path.

    A path is one that the program asked for when profiled: it was missing then; or it need not be
    there now, as it is left out, or lies where the service writes. By the way of a symbolic link
    it is another path, and is in it as that, too.
    """
    places = [mount.path for mount in mounts if mount.kind in _WRITABLE]
    gone = {item.path for item in left_out}
    found: dict[str, set[str]] = {program: set() for program in programs}
    for file in profile.files:
        come_and_go = file.path in gone or _comes_and_goes(file, places)
        for use in file.uses:
            if use.program in found and (use.how == "missing" or come_and_go):
                found[use.program].add(file.path)
    links = _folders_by_link(profile)
    return tuple(
        AbsentPaths(program=program, paths=tuple(sorted(_all_ways(paths, links))), reason=_REASON)
        for program, paths in sorted(found.items())
        if paths
    )


def _comes_and_goes(file: FileUse, places: Iterable[str]) -> bool:
    """Not what the kernel makes up: that it is missing is news."""
    is_in = file.kind != "directory" and any(is_below(file.path, place) for place in places)
    return not is_pseudo(file.path) and (is_in or is_written(file))


def _folders_by_link(profile: Profile) -> dict[str, str]:
    """Where each symbolic link of the profile leads."""
    targets = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    return {link: resolve(link, targets)[-1] for link in targets}


def _all_ways(paths: Iterable[str], links: Mapping[str, str]) -> Iterator[str]:
    for path in paths:
        yield path
        for link, folder in links.items():
            if folder not in ("/", path) and is_below(path, folder):
                yield link + path[len(folder) :]
