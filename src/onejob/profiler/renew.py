"""A profile as this host has it now: the operating system's files renewed, the service's the same.

Libraries are found again as the loader would find them for the service's own files, so new names,
new needs and needs that are gone are followed; what was only named is searched for anew. The
profile itself stays what was seen: what was renewed is told apart from it.
"""

import os
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from onejob.model.errors import InputError
from onejob.model.file_uses import is_code
from onejob.model.paths import resolve
from onejob.model.plan import RenewedFile
from onejob.model.profile import FileUse, Profile, ReachableCall
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.profiler.describe import Describer, describe_path, follow
from onejob.profiler.elf import read_needs
from onejob.profiler.packages import owner_of
from onejob.profiler.static.complete import complete

_SHOWN = 5
# Which files of a profile are the system's, and why (onejob.planner.system_files).
SystemFiles = Callable[[Profile], Mapping[str, str]]


class Renewal(NamedTuple):
    """`profile` with the host's system files; `files` that differ, and `calls` that are new.

    `calls` are those that code of a renewed file can reach, and the code before could not; none
    where the profile's code was never read.
    """

    profile: Profile
    files: tuple[RenewedFile, ...]
    calls: tuple[ReachableCall, ...]


def renew(profile: Profile, system: SystemFiles, carried: Collection[str]) -> Renewal:
    """The profile with the system's files as they are here; `carried` are the paths of its image.

    Raises InputError where a carried file of the service is not what was profiled, and where a
    library that something needs, or that the service was seen to load, is gone.
    """
    profile = profile.model_copy(update={"files": tuple(profile.files)})
    why = system(profile)
    own = [file for file in profile.files if file.path not in why]
    check_service(profile, [file for file in own if file.path in carried])
    known = {file.path: _found_again(file) for file in own}
    for file in _renewed(profile, known.values(), why):
        known.setdefault(file.path, file)
    workload = parse_toml(profile.workload, Workload, "workload in the profile")
    done = complete(known.values(), workload.environment, profile.program)
    files = _known_or_system(profile, known, done.files, system)
    renewed = profile.model_copy(
        update={
            "files": files,
            "reachable_calls": done.reachable_calls if profile.reachable_calls else (),
        }
    )
    new_why = system(renewed)
    _check_needs(files, new_why)
    changes = tuple(_changes(profile, renewed, why, new_why))
    return Renewal(renewed, changes, tuple(_new_calls(profile, renewed, changes)))


def check_service(profile: Profile, files: Iterable[FileUse]) -> None:
    """InputError unless each of `files` is what was profiled; it names packages and versions."""
    found = [(file, how) for file in files if (how := _difference(file))]
    if not found:
        return
    versions = dict.fromkeys(_versions(file) for file, _ in found)
    listed = [f"{file.path} {how}" for file, how in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    name = profile.name
    raise InputError(
        f"the service {name} is not what was profiled: {', '.join(filter(None, versions))}"
        f" ({'; '.join(listed)}{more}); its profile could be different",
        f"profile it again: onejob profile --workload WORKLOAD -o {name}.profile.xml; "
        f"then use that: onejob upgrade DISK {name}.profile.xml, or onejob build",
    )


def _difference(file: FileUse) -> str:
    """How what lies there differs from `file`; empty where it does not."""
    now = describe_path(file.path, (), file.origin)
    if now.kind != file.kind:
        return "is gone" if now.kind == "missing" else f"is a {now.kind}, was a {file.kind}"
    if now.kind == "symlink" and now.target != file.target:
        return f"points to {now.target}, did to {file.target}"
    return "has another content" if now.sha256 != file.sha256 else ""


def _versions(file: FileUse) -> str:
    """Its package, with the version then and now; its path where no package brought it."""
    name, _, then = file.package.partition("=")
    if not name:
        return file.path
    now = owner_of(file.path)
    if not now:
        return f"{name} {then} -> not installed"
    new_name, _, version = now.partition("=")
    return f"{name} {then} -> {'' if new_name == name else f'{new_name} '}{version}"


def _renewed(profile: Profile, own: Iterable[FileUse], why: Mapping[str, str]) -> Iterator[FileUse]:
    """What the host has for the system's files that something needs or that were used."""
    links = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    old = {file.path: file for file in profile.files if file.path in why}
    needed = {
        step for file in profile.files for need in needs_of(file) for step in resolve(need, links)
    }
    describer = Describer()
    for file in own:
        for need in needs_of(file):
            describer.add_needed(need, "static")
    for file in old.values():
        # Libraries are found again by who needs them; links with what they lead to.
        if file.uses and file.path not in needed and file.kind == "file":
            if entry := _entry(file.path, links):
                describer.add_needed(entry, "observed")
            elif is_code(file):
                raise _gone(file)
    yield from (_with_uses(file, old, links) for file in describer.complete())


def _entry(path: str, links: Mapping[str, str]) -> str:
    """The name by which `path` was reached, a link to it or its own; empty where all are gone."""
    names = [link for link in links if resolve(link, links)[-1] == path]
    return next((name for name in (*names, path) if os.path.exists(name)), "")


def needs_of(file: FileUse) -> tuple[str, ...]:
    """What the loader looks for to load `file`."""
    return (*file.needed, *([file.interpreter] if file.interpreter else ()))


def _with_uses(file: FileUse, old: Mapping[str, FileUse], links: Mapping[str, str]) -> FileUse:
    """`file` with the uses of what lay there, or of what its name led to (a new version's name)."""
    before = old.get(file.path)
    if before is None and file.kind == "file":
        before = next((old[end] for end in _earlier_ends(file.path, links) if end in old), None)
    if before is None:
        return file
    return file.model_copy(
        update={"uses": before.uses, "origin": before.origin, "named_by": before.named_by}
    )


def _earlier_ends(path: str, links: Mapping[str, str]) -> Iterator[str]:
    """Where links that now end at `path` ended in the profile."""
    for link in links:
        if posixpath.dirname(link) == posixpath.dirname(path) and follow(link)[-1] == path:
            yield resolve(link, links)[-1]


def _found_again(file: FileUse) -> FileUse:
    """`file`, which is the same, with its libraries where the loader finds them now."""
    needs = read_needs(Path(file.path)) if file.needed or file.interpreter else None
    if needs is None:
        return file
    lost = {posixpath.basename(path) for path in file.needed} & set(needs.lost)
    if lost:
        raise _gone(_library_of(file, min(lost)), file.path)
    return file.model_copy(update={"needed": needs.libraries})


def _library_of(file: FileUse, name: str) -> FileUse:
    path = next(path for path in file.needed if posixpath.basename(path) == name)
    return FileUse(path=path, kind="missing", existed=False)


def _check_needs(files: Collection[FileUse], why: Mapping[str, str]) -> None:
    """InputError where a renewed library asks for one that is found nowhere."""
    names = {posixpath.basename(file.path) for file in files}
    for file in files:
        needs = read_needs(Path(file.path)) if file.path in why and file.sha256 else None
        for name in sorted(set(needs.lost) - names) if needs else ():
            raise _gone(FileUse(path=name, kind="missing", existed=False), file.path)


def _gone(file: FileUse, user: str = "") -> InputError:
    by = f", which {user} needs" if user else ", which the service was seen to use"
    package = file.package.replace("=", " ") or "its package"
    return InputError(
        f"{file.path} ({package}){by}, is not on this host",
        "install what brings it; or profile the service again as this host has it",
    )


def _known_or_system(
    profile: Profile,
    known: Mapping[str, FileUse],
    completed: Iterable[FileUse],
    system: SystemFiles,
) -> tuple[FileUse, ...]:
    """All files by path. Of newly named ones only the system's: no profile has others."""
    files = {file.path: file for file in completed}
    before = {file.path for file in profile.files}
    why = system(profile.model_copy(update={"files": tuple(files.values())}))
    kept = {path: files[path] for path in files if path in known or path in before or path in why}
    for path in list(kept):
        while (path := posixpath.dirname(path)) in files and path not in kept:
            kept[path] = files[path]
    return tuple(kept[path] for path in sorted(kept))


def _changes(
    old: Profile, new: Profile, old_why: Mapping[str, str], new_why: Mapping[str, str]
) -> Iterator[RenewedFile]:
    """Every file of the system that is not as in the profile."""
    before = {file.path: file for file in old.files if file.path in old_why}
    after = {file.path: file for file in new.files if file.path in new_why}
    for path in sorted(before.keys() | after.keys()):
        then, now = before.get(path), after.get(path)
        if _content(then) != _content(now):
            yield RenewedFile(
                path=path,
                profiled=_text(then),
                now=_text(now),
                reason=new_why.get(path) or old_why[path],
            )


def _content(file: FileUse | None) -> tuple[str, ...]:
    return (file.kind, file.sha256, file.target) if file else ()


def _text(file: FileUse | None) -> str:
    """Package and content, or where the link points to; empty for none."""
    if file is None:
        return ""
    content = f"-> {file.target}" if file.kind == "symlink" else file.sha256[:12]
    return " ".join(filter(None, (file.package.replace("=", " "), content)))


def _new_calls(
    old: Profile, new: Profile, changes: Iterable[RenewedFile]
) -> Iterator[ReachableCall]:
    """The calls that renewed code can reach and the code that it replaces could not.

    Of a library that replaces none, those that nothing in the profile could.
    """
    if not old.reachable_calls:
        return
    paths = {file.path for file in old.files}
    links = {file.path: file.target for file in old.files if file.kind == "symlink"}
    then = _calls_by_object(old.reachable_calls)
    anybody = {name for names in then.values() for name in names}
    now = _calls_by_object(new.reachable_calls)
    for path in sorted({change.path for change in changes} & now.keys()):
        replaced = next((end for end in (path, *_earlier_ends(path, links)) if end in paths), "")
        before = set(then.get(replaced, ())) if replaced else anybody
        yield from (call for name, call in now[path].items() if name not in before)


def _calls_by_object(calls: Iterable[ReachableCall]) -> dict[str, dict[str, ReachableCall]]:
    found: dict[str, dict[str, ReachableCall]] = {}
    for call in calls:
        found.setdefault(call.object, {})[call.call_name] = call
    return found
