"""What a rehearsal can find wrong with an image, each with its remedy; pure functions."""

import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from onejob.model.errors import InputError
from onejob.model.paths import is_below
from onejob.model.plan import Plan
from onejob.model.profile import FileUse, Profile
from onejob.system.instance import Denial

ENOENT = 2
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


def denied(denials: Iterable[Denial]) -> list[Finding]:
    """A finding for each denied call."""
    found = []
    for denial in denials:
        times = "once" if denial.count == 1 else f"{denial.count} times"
        row = f" ({denial.role}, {denial.phase})" if denial.role else ""
        what = f"{denial.call} was refused to {denial.program}{row} {times}"
        remedy = f"add a drill that does what {denial.program} needed it for, and {AGAIN}"
        found.append(Finding("denied", what, remedy))
    return found


def not_narrowed(events: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """A finding for each row of the call matrix that process 1 could not put on a process.

    Not for a process that listens and does not wait: it has its boot row, and may yet settle.
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
    """Files that the service used when profiled and that the image neither holds nor mounts."""
    root = PlannedRoot(plan)
    idle = {item.path for item in plan.left_out}
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
    for program, path, count in _not_found(recording):
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


def was_there(file: FileUse) -> bool:
    """Whether `file` existed before the profiled run, and whoever asked for it found it."""
    hows = {use.how for use in file.uses}
    return file.existed and file.kind != "missing" and bool(hows) and "missing" not in hows


def _not_found(recording: Path) -> Iterable[tuple[str, str, int]]:
    """Program, path and count of what was asked for in vain."""
    try:
        data = json.loads(recording.read_text())
        paths = {program["id"]: str(program["path"]) for program in data["programs"]}
        for file in data["files"]:
            if file["error"] == ENOENT:
                yield paths[file["program"]], str(file["path"]), int(file["count"])
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
