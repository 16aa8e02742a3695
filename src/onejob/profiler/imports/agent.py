"""A recording of onejob-probe's, made as an agent on another machine -> Profile.

What lies at the paths is looked up here; where that is not what the agent found there, the profile
has what the agent says, and tells of it.
"""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from onejob.model.errors import InputError
from onejob.model.noun import read_text
from onejob.model.paths import is_pseudo
from onejob.model.profile import FileUse, Profile
from onejob.profiler.assemble import assemble
from onejob.profiler.attach import PARTIAL
from onejob.profiler.describe import follow
from onejob.profiler.recording import Recording, parse_recording
from onejob.profiler.running import service_name
from onejob.profiler.subject import Subject

_UNRECORDED = "the agent records no memory"
_MADE = {"created", "renamed-to", "removed"}
_SHOWN = 8


def is_recording(head: bytes) -> bool:
    """Whether a file that begins so can be a recording: its first key says its format."""
    return bool(re.match(rb'\s*\{\s*"format"\s*:', head))


def read(path: Path) -> Profile:
    """The profile of the recording in `path`; InputError where it is none, or an empty one."""
    text = read_text(path, "recording")
    recording = parse_recording(text, path)
    if not recording.calls and not recording.files:
        raise InputError(f"recording {path}: nothing was seen in it")
    program = recording.programs[0].path
    subject = Subject(
        name=service_name(os.path.basename(program)),
        program=program,
        partial="" if "start" in recording.drills else PARTIAL,
        unrecorded=_UNRECORDED,
        sources=(f"{path.name} (sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})",),
    )
    return as_there(assemble(subject, recording, ()), recording)


def as_there(profile: Profile, recording: Recording) -> Profile:
    """`profile` with the files as they were where `recording` was made, and a word about it."""
    files = {file.path: file for file in profile.files}
    other: dict[str, FileUse] = {}
    for content in recording.contents:
        end = follow(content.path)[-1]
        file = files[end]
        if file.sha256 != content.sha256:
            facts = {"kind": "file", "existed": True, "size": content.size, "package": ""}
            facts |= {"sha256": content.sha256, "needed": (), "interpreter": ""}
            other[end] = file.model_copy(update=facts)
    lacking = {file.path for file in profile.files if _is_lacking(file)} - other.keys()
    if not other and not lacking:
        return profile
    assert profile.provenance is not None  # assemble says it always
    notes = [profile.provenance.partial] if profile.provenance.partial else []
    if other:
        notes.append(f"contents are not as the service saw them on this machine: {_some(other)}")
    if lacking:
        notes.append(f"used, but not on this machine: {_some(lacking)}")
    provenance = profile.provenance.model_copy(update={"partial": "; ".join(notes)})
    rows = tuple(other.get(file.path, file) for file in profile.files)
    return profile.model_copy(update={"files": rows, "provenance": provenance})


def _is_lacking(file: FileUse) -> bool:
    """Whether the service had it there, and nothing is here."""
    ways = {use.how for use in file.uses}
    return (
        file.kind == "missing"
        and bool(ways - {"missing"} - _MADE)
        and not (ways & _MADE or is_pseudo(file.path))
    )


def _some(paths: Iterable[str]) -> str:
    names = sorted(paths)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
