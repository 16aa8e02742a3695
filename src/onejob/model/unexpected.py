"""Paths that an instance asked for in vain: which of them a profile does not have so. Pure."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onejob.model.file_uses import is_code, is_written
from onejob.model.observations import Observations, UnexpectedFile
from onejob.model.paths import PSEUDO_ROOTS, is_below, resolve
from onejob.model.profile import FileUse, Profile

PRODUCTION = "production"
"""The drill under which what was observed stands in a profile."""
_LOOKS = frozenset({"read", "listed", "looked-up"})


@dataclass(frozen=True)
class Unexpected:
    """One path, where its links lead by the profile; what the profile has there, if anything.

    `expected_in` is the folder in which such a name was to be expected: clients choose names there,
    or the kernel makes them up. It does not matter then, nor where it was refused an error that
    the program met when profiled, and only looked.
    """

    seen: UnexpectedFile
    path: str
    file: FileUse | None
    expected_in: str = ""
    was_refused: bool = False

    @property
    def matters(self) -> bool:
        """Whether the profile is not true for it."""
        return not self.expected_in and not self.was_refused


def unexpected_of(profile: Profile, found: Observations) -> Iterator[Unexpected]:
    """Those of `found` that are news to `profile`, in the order of `found`."""
    files = {file.path: file for file in profile.files}
    links = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    folders = _folders_of_clients(profile)
    refused = {(use.program, error) for use in profile.calls for error in use.errors}
    for seen in found.unexpected_files:
        path = resolve(seen.path, links)[-1]
        file = files.get(path)
        if seen.is_missing:
            if file is None or not _is_known(file, seen.program):
                places = (*PSEUDO_ROOTS, *sorted(folders.get(seen.program, ())))
                place = next((place for place in places if is_below(path, place)), "")
                yield Unexpected(seen, path, file, expected_in=place)
        else:
            could = seen.how in _LOOKS and (seen.program, seen.error) in refused
            yield Unexpected(seen, path, file, was_refused=could)


def _is_known(file: FileUse, program: str) -> bool:
    """Whether it was missing, or comes and goes, when `program` asked for it."""
    hows = {use.how for use in file.uses if use.program == program}
    may_be_gone = is_written(file) or file.kind == "missing"
    return "missing" in hows or (bool(hows) and may_be_gone)


def _folders_of_clients(profile: Profile) -> Mapping[str, set[str]]:
    """By program, folders in which it looked in vain while it served: clients choose names there.

    Not for a name that it looks for when it starts, too, which is its own; nor in folders right
    below the root, which are everybody's, and those that have its code.
    """
    serving = {run.name for run in profile.drills if run.phase == "serve"} - {PRODUCTION}
    code = [file.path for file in profile.files if is_code(file)]
    found: dict[str, set[str]] = {}
    for file in profile.files:
        folder = posixpath.dirname(file.path)
        missed = [use for use in file.uses if use.how == "missing"]
        if (
            missed
            and all(use.drill in serving for use in missed)
            and folder.count("/") > 1
            and not any(is_below(path, folder) for path in code)
        ):
            for use in missed:
                found.setdefault(use.program, set()).add(folder)
    return found
