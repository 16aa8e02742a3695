"""Which system calls the code of a service's programs and libraries can reach, and by what.

An object's own instructions count whole. What it reaches through the C library is followed there
from each function that it imports, because the C library has code for nearly every call.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from onejob.model.profile import FileUse, ReachableCall, Unfollowed
from onejob.model.syscalls import call_name
from onejob.profiler.static.summary import ObjectSummary, summarize


def summaries(files: Iterable[FileUse]) -> dict[str, ObjectSummary]:
    """Every program and library among `files`, by path."""
    return {
        file.path: summarize(file.path, file.sha256)
        for file in files
        if file.sha256 and is_object(file)
    }


def is_object(file: FileUse) -> bool:
    """Whether `file` is loaded as code: executed, mapped to be run, needed, or needing others."""
    used = any(use.how in ("executed", "mapped") for use in file.uses)
    return used or bool(file.needed or file.interpreter) or ".so" in posixpath.basename(file.path)


def reachable_calls(objects: Mapping[str, ObjectSummary]) -> tuple[ReachableCall, ...]:
    """A row for each object and call, with the shortest reason."""
    libraries = {path: summary for path, summary in objects.items() if summary.functions}
    rows: dict[tuple[str, str], str] = {}
    for path, summary in objects.items():
        if path in libraries:
            continue
        for call in summary.calls:
            rows.setdefault((path, call_name(call.number)), f"{call.how} {call.address:#x}")
        for library, inside in libraries.items():
            for number, reason in _through(summary, library, inside):
                rows.setdefault((path, call_name(number)), reason)
    return tuple(
        ReachableCall(object=path, call_name=name, reason=reason)
        for (path, name), reason in sorted(rows.items())
    )


def _through(
    summary: ObjectSummary, library: str, inside: ObjectSummary
) -> Iterator[tuple[int, str]]:
    """The calls that the imports lead to in `library`, those by the fewest functions first."""
    nearest = {n: name for name in summary.imports for n in inside.exports.get(name, ())}
    seen = set(nearest)
    steps = 0
    while nearest:
        further: dict[int, str] = {}
        for number, name in nearest.items():
            reason = f"imports {name} -> {posixpath.basename(library)} {name}"
            way = f", {steps} functions further" if steps else ""
            yield from ((call, reason + way) for call in inside.functions[number].calls)
            for edge in inside.functions[number].edges:
                if edge not in seen:
                    seen.add(edge)
                    further[edge] = name
        nearest = further
        steps += 1


def unfollowed_code(objects: Mapping[str, ObjectSummary]) -> tuple[Unfollowed, ...]:
    """The objects, or the instructions in them, that could not be understood."""
    notes = []
    for path, summary in sorted(objects.items()):
        if summary.note and summary.note != "no ELF file":
            notes.append(Unfollowed(object=path, reason=f"its code was not read: {summary.note}"))
        notes += [Unfollowed(object=path, reason=cut) for cut in summary.cuts]
        if summary.unknown:
            reason = f"{summary.unknown} system calls whose number is computed"
            notes.append(Unfollowed(object=path, reason=reason))
    return tuple(notes)
