"""A profile with the files of the system that an image has newer: so it is planned as it is."""

from onejob.model.plan import Plan, PlannedFile
from onejob.model.profile import FileUse, Profile

_NEEDED_BY = "needed by "  # the reason of a library (onejob.planner.files)


def as_renewed(profile: Profile, image: Plan) -> Profile:
    """`profile`, which the image of the plan `image` came from, with what that has `renewed`."""
    if not image.renewed:
        return profile
    planned = {file.path: file for file in image.files}
    files = {file.path: file for file in profile.files}
    for path in (file.path for file in image.renewed):
        if path in planned:
            files[path] = _renewed(planned[path], files.get(path))
            _need(planned[path], files)
        else:
            files.pop(path, None)
    return profile.model_copy(update={"files": tuple(files[path] for path in sorted(files))})


def _renewed(file: PlannedFile, seen: FileUse | None) -> FileUse:
    base = seen or FileUse(path=file.path, kind=file.kind, origin="static")
    same = ("kind", "size", "sha256", "target", "mode", "uid", "gid", "package")
    return base.model_copy(update={name: getattr(file, name) for name in same})


def _need(file: PlannedFile, files: dict[str, FileUse]) -> None:
    """Who needs it says so, as the reason of the new plan."""
    users = (r.removeprefix(_NEEDED_BY) for r in file.reasons if r.startswith(_NEEDED_BY))
    for user in (files[path] for path in users if path in files):
        if file.path not in user.needed:
            needed = (*user.needed, file.path)
            files[user.path] = user.model_copy(update={"needed": needed})
