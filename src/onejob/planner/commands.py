"""Few commands: no set-user-id bit that nobody asked for, no shell that nobody was seen to run."""

from collections.abc import Mapping
from fnmatch import fnmatchcase

from onejob.model.component import Component
from onejob.model.errors import InputError
from onejob.model.paths import resolve
from onejob.model.plan import LeftOut
from onejob.model.profile import Profile
from onejob.model.workload import Workload

SET_ID = 0o6000


def set_id_programs(profile: Profile, workload: Workload) -> Mapping[str, str]:
    """The programs that keep their set-user-id or set-group-id bit, and why.

    Only those that the service was seen to run, and that its workload names as an exception;
    InputError for one that it ran and that is not named.
    """
    kept = {}
    for file in profile.files:
        if file.kind != "file" or not file.mode & SET_ID:
            continue
        if not any(use.how == "executed" for use in file.uses):
            continue
        if file.path not in workload.set_user_id:
            raise InputError(
                f"{profile.name} runs {file.path}, which has the rights of its owner"
                f" (mode {file.mode:04o}), and its workload does not say that it may",
                f'if it has to, name it there: set_user_id = {{ "{file.path}" = "why" }}',
            )
        kept[file.path] = workload.set_user_id[file.path]
    return kept


def unused_commands(
    profile: Profile, chosen: Mapping[str, tuple[Component, str]]
) -> tuple[LeftOut, ...]:
    """What components leave out of each image whose service was not seen to execute it."""
    patterns = [(rule.path, rule.why) for part, _ in chosen.values() for rule in part.leave_out]
    executed = _executed(profile)
    return tuple(
        LeftOut(path=file.path, reason=f"{why}; the profile does not show it executed")
        for file in sorted(profile.files, key=lambda file: file.path)
        if file.kind in ("file", "symlink") and file.path not in executed and file.origin != "user"
        for why in [_first_match(file.path, patterns)]
        if why
    )


def _executed(profile: Profile) -> set[str]:
    """Every path on the way to what was executed, interpreters of it included."""
    links = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    found: set[str] = set()
    for file in profile.files:
        if any(use.how == "executed" for use in file.uses):
            for path in filter(None, (file.path, file.interpreter)):
                found.update(resolve(path, links))
    return found


def _first_match(path: str, patterns: list[tuple[str, str]]) -> str:
    return next((why for pattern, why in patterns if fnmatchcase(path, pattern)), "")
