"""Which files are logs: the service was seen to extend them, and to change them in no other way."""

from collections import defaultdict
from collections.abc import Iterable, Set

from onejob.model.file_uses import write_reason
from onejob.model.paths import is_below
from onejob.model.plan import Mount
from onejob.model.plan_policy import Log
from onejob.model.profile import FileUse, How, Profile

# The kernel refuses these of an append-only file, by descriptor as well, where no profile shows
# which file it was (ioctl_iflags(2), fallocate(2)).
_SHORTENS = frozenset({"truncate", "ftruncate", "fallocate"})
_LEAVES_ALONE = frozenset({"appended", "created", "read", "listed", "looked-up", "missing"})


def plan_logs(profile: Profile, mounts: Iterable[Mount]) -> tuple[Log, ...]:
    """The files of the data partition that can only be extended, by path."""
    folders = [mount.path for mount in mounts if mount.kind == "data"]
    called = defaultdict[str, set[str]](set)
    for call in profile.calls:
        called[call.program].add(call.call_name)
    shorten = {program for program, calls in called.items() if calls & _SHORTENS}
    found = [
        file
        for file in sorted(profile.files, key=lambda file: file.path)
        if any(is_below(file.path, folder) for folder in folders) and _is_log(file, shorten)
    ]
    # Which of its logs have another owner depends on what is there: so all that it extends.
    changers = {program for file in found for program in _who(file, "changed")}
    return tuple(
        Log(
            path=file.path,
            changes=bool(_who(file, "appended") & changers),
            reason=f"only ever extended: {write_reason(file)}",
        )
        for file in found
    )


def _is_log(file: FileUse, shorten: Set[str]) -> bool:
    """A program may give owner and mode to a file that it makes."""
    writers = _who(file, "appended")
    if file.kind not in ("file", "missing") or not writers or writers & shorten:
        return False
    hows = {use.how for use in file.uses}
    makes_what_it_changes = _who(file, "changed") <= _who(file, "created")
    return hows <= _LEAVES_ALONE | {"changed"} and makes_what_it_changes


def _who(file: FileUse, how: How) -> set[str]:
    return {use.program for use in file.uses if use.how == how}
