"""Programs whose allocations could not be counted, and why: that is not the same as none."""

from collections.abc import Iterable, Set

from onejob.model.profile import FileUse, UnrecordedMemory

_SET_ID = 0o6000
STATIC = "statically linked: there is no malloc that could be interposed"
SET_ID = "set-user-id or set-group-id: the loader ignores LD_PRELOAD (ld.so(8))"
ABSENT = "the run with the recorder brought no recording of it"


def unrecorded_memory(
    ran: Set[str], recorded: Set[str], files: Iterable[FileUse], reason: str = ""
) -> tuple[UnrecordedMemory, ...]:
    """Of the programs that `ran`, those that are not among the `recorded`; `reason` for all of them
    where nobody recorded."""
    known = {file.path: file for file in files}
    return tuple(
        UnrecordedMemory(program=program, reason=reason or _reason(known.get(program)))
        for program in sorted(ran - recorded)
    )


def _reason(file: FileUse | None) -> str:
    if file is None or file.kind != "file":
        return ABSENT
    if not file.interpreter:
        return STATIC
    return SET_ID if file.mode & _SET_ID else ABSENT
