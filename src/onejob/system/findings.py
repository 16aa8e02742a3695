"""What a rehearsal can find wrong with an image, each with its remedy; pure functions."""

import errno
import json
import os
import posixpath
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from onejob.model.argument_words import arguments_in_words
from onejob.model.errors import InputError
from onejob.model.file_uses import WRITES
from onejob.model.paths import is_below
from onejob.model.plan import Plan
from onejob.model.plan_policy import ArgumentCheck
from onejob.model.profile import FileUse, Profile
from onejob.model.syscalls import call_name
from onejob.system.instance import Denial

REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV}
# Calls that change or execute what their path says; opens are told apart by their flags.
CHANGES = {
    "creat", "truncate", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat",
    "rmdir", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "bind", "execve",
    "execveat",
}  # fmt: skip
MAX_LINKS = 40
AGAIN = "profile again, and build the image from that profile"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as the profile says.

    `kind`: ready, drill, denied, row, missing-file.
    """

    kind: str
    object: str
    remedy: str


def denied(denials: Iterable[Denial], checks: Iterable[ArgumentCheck] = ()) -> list[Finding]:
    """A finding for each denied call; with the arguments that the policy's `checks` looked at."""
    found, checked = [], {check.call: check for check in checks}
    for denial in denials:
        times = "once" if denial.count == 1 else f"{denial.count} times"
        row = f" ({denial.role}, {denial.phase})" if denial.role else ""
        given = _given(denial, checked.get(denial.call))
        what = f"{denial.call}{given} was refused to {denial.program}{row} {times}"
        remedy = f"add a drill that does what {denial.program} needed it for, and {AGAIN}"
        found.append(Finding("denied", what, remedy))
    return found


def _given(denial: Denial, check: ArgumentCheck | None) -> str:
    if check is None or not check.arguments or max(check.arguments) >= len(denial.args):
        return ""
    pairs = zip(check.arguments, check.masks, strict=True)
    values = tuple(denial.args[number] & mask for number, mask in pairs)
    return f" ({arguments_in_words(denial.call, values)})"


def not_narrowed(events: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """A finding for each row of the call matrix that process 1 could not put on a process.

    Not for a process that makes many calls without settling: it has its boot row, and may yet.
    """
    remedies = {
        "no-row": f"add a drill in which it runs, and {AGAIN}",
        "own-filters": "switch its own seccomp filters off: the image's are narrower",
    }
    return [
        Finding("row", str(event["reason"]), remedies.get(event["why"], "see docs/run.md"))
        for event in events
        if event["why"] != "restless"
    ]


def left_out(profile: Profile, plan: Plan) -> list[Finding]:
    """Files that the service used when profiled and that the image neither holds nor mounts.

    Not those of an older system that a newer one has no more (`renewed`).
    """
    root = PlannedRoot(plan)
    idle = {item.path for item in plan.left_out}
    idle |= {file.path for file in plan.renewed if not file.now}
    found = []
    for file in profile.files:
        if was_there(file) and file.path not in idle and not root.has(file.path):
            what = f"{file.path} was used when profiled, and the image lacks it"
            remedy = f"add {file.path} to the workload's include, and {AGAIN}"
            found.append(Finding("missing-file", what, remedy))
    return found


def asked_in_vain(recording: Path, profile: Profile, plan: Plan) -> list[Finding]:
    """Files that the programs of the profile asked for in a rehearsal and did not find, though
    they always found them when profiled. `recording` is onejob-probe's.
    """
    programs = {call.program for call in profile.calls}
    known = {file.path: file for file in profile.files if was_there(file)}
    counts: dict[tuple[str, str], int] = {}
    for program, path, count, _ in _asked(recording, {errno.ENOENT}):
        if program in programs and path in known and not _is_made_up(path, plan):
            counts[path, program] = counts.get((path, program), 0) + count
    return [
        Finding(
            "missing-file",
            f"{program} asked for {path} ({count}x) and the image lacks it",
            f"add {path} to the workload's include, and {AGAIN}",
        )
        for (path, program), count in sorted(counts.items())
    ]


def refused_files(recording: Path, profile: Profile, plan: Plan) -> list[Finding]:
    """Changes and executions that were refused in a rehearsal, of files that the same program did
    change or execute when profiled, and in a place where the plan has it do so.

    Not where that program met the same error when profiled: of what, is not in a profile.
    """
    normal = {(call.program, error) for call in profile.calls for error in call.errors}
    could = {
        (use.program, file.path)
        for file in profile.files
        for use in file.uses
        if use.how in WRITES or use.how == "executed"
    }
    places = [mount.path for mount in plan.mounts]
    counts: dict[tuple[str, str], int] = {}
    for program, path, count, file in _asked(recording, REFUSALS):
        if (program, file["error"]) in normal or (program, path) not in could or _looks(file):
            continue
        if any(is_below(path, place) for place in places):
            counts[program, path] = counts.get((program, path), 0) + count
    return [
        Finding(
            "refused-file",
            f"{program} was refused {path} ({count}x), which it could use when profiled",
            "look at what it may with: onejob files IMAGE DIRECTORY; and please report this",
        )
        for (program, path), count in sorted(counts.items())
    ]


def was_there(file: FileUse) -> bool:
    """Whether `file` existed before the profiled run, and whoever asked for it found it."""
    hows = {use.how for use in file.uses}
    return file.existed and file.kind != "missing" and bool(hows) and "missing" not in hows


def _looks(file: Mapping[str, Any]) -> bool:
    """Whether a call only looks at its file, which may be refused by owner and mode alone."""
    name = call_name(int(file["nr"]))
    if name in ("open", "openat", "openat2"):
        return not int(file["flags"]) & os.O_ACCMODE
    return name not in CHANGES


def _asked(recording: Path, errors: Set[int]) -> Iterable[tuple[str, str, int, Mapping[str, Any]]]:
    """Program, path, count and the rest of what was answered with one of `errors`."""
    try:
        data = json.loads(recording.read_text())
        paths = {program["id"]: str(program["path"]) for program in data["programs"]}
        for file in data["files"]:
            if file["error"] in errors:
                yield paths[file["program"]], str(file["path"]), int(file["count"]), file
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"recording {recording}: {error!r}") from error


def _is_made_up(path: str, plan: Plan) -> bool:
    """Whether the kernel makes `path` up: what is below /proc comes and goes."""
    kinds = ("proc", "sysfs", "devtmpfs")
    return any(is_below(path, mount.path) for mount in plan.mounts if mount.kind in kinds)


class PlannedRoot:
    """The plan's files as the service would find them, symbolic links followed."""

    def __init__(self, plan: Plan) -> None:
        self._paths = {"/"}
        for file in plan.files:
            self._paths |= {file.path, *map(str, PurePosixPath(file.path).parents)}
        self._links = {file.path: file.target for file in plan.files if file.kind == "symlink"}
        self._mounts = [mount.path for mount in plan.mounts]

    def has(self, path: str) -> bool:
        """Whether `path` leads to a file of the root or into a mount."""
        todo = [part for part in path.split("/") if part]
        here, links = "/", 0
        while todo:
            part = todo.pop(0)
            here = posixpath.dirname(here) if part == ".." else posixpath.join(here, part)
            if part == ".":
                here = posixpath.dirname(here)
            if here in self._mounts:
                return True
            if here in self._links:
                links += 1
                if links > MAX_LINKS:
                    return False
                target = self._links[here]
                todo = [p for p in target.split("/") if p] + todo
                here = "/" if target.startswith("/") else posixpath.dirname(here)
            elif here not in self._paths:
                return False
        return True
