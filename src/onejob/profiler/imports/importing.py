"""Files of other tools -> Profile: the format is recognised by content, and what it lacks is said.

A profile made so is partial: its provenance says what such a source cannot know, and what of this
one could not be read. What may hide a system call counts as lost events, which `plan` refuses.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from onejob.model.errors import InputError
from onejob.model.profile import CallUse, Profile, UnrecordedMemory
from onejob.profiler.assemble import assemble
from onejob.profiler.imports import agent
from onejob.profiler.imports.follow import Follower
from onejob.profiler.imports.perf import PerfReader, is_perf
from onejob.profiler.imports.procmon import Log
from onejob.profiler.imports.procmon_csv import CsvLog, is_procmon_csv
from onejob.profiler.imports.procmon_pml import PmlLog, is_pml
from onejob.profiler.imports.seccomp import is_seccomp, read_seccomp
from onejob.profiler.imports.source import HEAD_BYTES, Source
from onejob.profiler.imports.strace import StraceReader, is_strace
from onejob.profiler.imports.tally import DRILL, Tally
from onejob.profiler.imports.windows import windows_profile
from onejob.profiler.subject import Subject

MAX_FILES = 10_000
KNOWN = "onejob-probe, strace, perf trace, an OCI seccomp profile, Process Monitor (CSV, PML)"
_PART = re.compile(r".*\.(\d{1,10})")
_NO_MEMORY = "imported: its source does not say"
_HERE = "files, accounts and packages are described as this machine has them"
_LACKS = {
    "strace": "strace: it does not say which library made a call, what was allocated, which"
    " capabilities were asked for, or how many waited for accept, nor what its filters (-e) left"
    " out, and whether O_CREAT made a file is inferred",
    "perf": "perf trace: it names programs by their first 15 characters, and does not say which"
    " library made a call, what was allocated, which capabilities were asked for, or how many"
    " waited for accept, nor what its filters left out",
    "seccomp": "a seccomp profile: its calls were allowed, and nobody counted them; it says nothing"
    " of arguments, files, sockets or memory",
}
_PROCMON: dict[str, Callable[[Source], Log]] = {"procmon csv": CsvLog, "procmon pml": PmlLog}
_SPLIT = "the logs of strace -ff do not say what was at once: peaks are upper bounds"


def import_profile(paths: Sequence[Path], program: str = "") -> Profile:
    """The profile of what `paths` say: one file, or the several of strace -ff, of which a folder
    or their common beginning may be named, too.

    `program` is the main program's path, by default the first that was executed. InputError where
    the files are of no known tool, or do not say what they are of.
    """
    with ExitStack() as stack:
        sources = [stack.enter_context(Source(path)) for path in _files(paths)]
        form = _recognise(sources)
        if form == "agent":
            return agent.read(sources[0].path)
        if form in _PROCMON:
            labels = tuple(source.label() for source in sources)
            return windows_profile(_PROCMON[form](sources[0]), program, labels, name_of)
        tally = Tally()
        allowed: frozenset[str] = frozenset()
        follower = Follower(tally, _program(program))
        if form == "seccomp":
            allowed = read_seccomp(sources[0].small(), str(sources[0].path), tally)
        elif form == "perf":
            _read_all(PerfReader(follower), sources[0])
        else:
            _read_strace(follower, sources)
        follower.finish()
        return _profile(tally, form, sources, allowed)


def _files(paths: Sequence[Path]) -> list[Path]:
    """What is named, with the parts that a folder or a common beginning (strace -ff -o) stands
    for."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(entry for entry in path.iterdir() if entry.is_file())
        elif path.exists():
            found.append(path)
        else:
            parts = path.parent.glob(f"{_glob_safe(path.name)}.*") if path.parent.is_dir() else ()
            found += sorted(part for part in parts if _PART.fullmatch(part.name)) or [path]
    if not found or len(found) > MAX_FILES:
        raise InputError(
            f"{', '.join(map(str, paths))}: {len(found)} files to import",
            f"name one file, or up to {MAX_FILES} of one strace -ff",
        )
    return found


def _glob_safe(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _recognise(sources: Sequence[Source]) -> str:
    forms = {form for source in sources if (form := _form_of(source))}
    if not forms:
        raise InputError(f"{sources[0].path} is of no tool that is known", f"known are: {KNOWN}")
    if len(sources) > 1 and forms != {"strace"}:
        raise InputError(
            f"{len(sources)} files, and not all of strace -ff",
            "import each other file by itself, and join the profiles with: onejob merge",
        )
    return forms.pop()


def _form_of(source: Source) -> str:
    head = source.head()
    if is_pml(head):
        return "procmon pml"
    if is_procmon_csv(head):
        return "procmon csv"
    if agent.is_recording(head):
        return "agent"
    if is_seccomp(head):
        return "seccomp"
    lines = head.decode(errors="surrogateescape").splitlines()
    whole = lines[:-1] if len(head) == HEAD_BYTES else lines
    if is_perf(whole):
        return "perf"
    return "strace" if is_strace(whole) else ""


def _program(given: str) -> str:
    if given and not given.startswith("/"):
        raise InputError(f"program {given!r} is no absolute path", "name it as /usr/sbin/nginx")
    return os.path.realpath(given) if given else ""


def _read_all(reader: StraceReader | PerfReader, source: Source) -> None:
    for line in source.lines():
        reader.line(line)
    reader.end()


def _read_strace(follower: Follower, sources: Sequence[Source]) -> None:
    if len(sources) == 1:
        _read_all(StraceReader(follower), sources[0])
        return
    waiting = {_number(source, place): source for place, source in enumerate(sources)}
    if len(waiting) < len(sources):
        raise InputError("several files are of one process", "name the files of one strace -ff")
    while waiting:
        # A parent before its children, who begin with what it had when it made them.
        children = waiting.keys() & set(follower.processes.numbers())
        owner = min(children or waiting)
        _read_all(StraceReader(follower, owner), waiting.pop(owner))
    follower.tally.notes.append(_SPLIT)


def _number(source: Source, place: int) -> int:
    """The process of a file of strace -ff, which its name ends with."""
    found = _PART.fullmatch(source.path.name)
    return int(found[1]) if found else -2 - place


def _profile(tally: Tally, form: str, sources: Sequence[Source], allowed: Iterable[str]) -> Profile:
    program = tally.main
    if not program:
        raise InputError(
            f"{sources[0].path} does not say the path of the program it is of",
            "name it with: --program /usr/sbin/NAME",
        )
    subject = Subject(
        name=name_of(program),
        program=program,
        partial="; ".join([f"imported from {_LACKS[form]}", _HERE, *tally.said()]),
        sources=tuple(source.label() for source in sources),
    )
    profile = assemble(subject, tally.recording(), ())
    calls = tuple(
        CallUse(program=program, call_name=name, phase="serve", drill=DRILL, count=0, origin="user")
        for name in sorted(allowed)
    )
    assert profile.provenance is not None
    return profile.model_copy(
        update={
            "calls": (*profile.calls, *calls),
            # The kernel that it ran on is not known.
            "provenance": profile.provenance.model_copy(update={"kernel": ""}),
            "unrecorded_memory": tuple(
                UnrecordedMemory(program=name, reason=_NO_MEMORY)
                for name in sorted({use.program for use in (*profile.calls, *calls)})
            ),
        }
    )


def name_of(program: str) -> str:
    """A profile's name, after the program's, that is good for a file's name, too."""
    last = re.split(r"[/\\]", program)[-1]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-").lower() or "imported"
