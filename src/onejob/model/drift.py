"""Drift: in which facts a running instance is not as its profile says, and by how much. Pure."""

import posixpath
from collections.abc import Iterator
from typing import Literal

from onejob.model.noun import Noun
from onejob.model.observations import HeldAtOnce, MemoryUse, Observations
from onejob.model.paths import is_below
from onejob.model.profile import Profile, ProgramPeak
from onejob.model.profile_observed import allocations_of, argument_values
from onejob.model.unexpected import Unexpected, unexpected_of

# Of all blocks, so many must come from arrays for a profile of memory to be called accurate.
MIN_STATIC_SHARE = 0.999
# The head-room that a plan adds to peaks of memory, in percent; what is below does not matter yet.
TOLERANCE_PERCENT = 25
# Ways of using a file after which there may be more such files in its folder.
_MAKING = {"created", "written", "appended", "renamed-to", "bound", "linked"}
_OUR_OWN = "/run/onejob"

Kind = Literal["call", "program", "peak", "memory", "file"]


class Drifted(Noun):
    """One fact: what it is of, how much the profile has of it and how much was observed.

    `matters` where it is more than the head-room that is planned for anyway.
    """

    kind: Kind
    object: str
    profiled: int
    observed: int
    what: str
    matters: bool = True

    @property
    def by(self) -> str:
        """By how much: ``+3``, or ``1.5x``."""
        if self.profiled:
            return f"{self.observed / self.profiled:.2f}x"
        return f"+{self.observed}"


def find_drift(
    profile: Profile, found: Observations, tolerance_percent: int = TOLERANCE_PERCENT
) -> tuple[Drifted, ...]:
    """Every fact of `found` that `profile` lacks or has less of; those that matter come first.

    A peak matters where it is more than `tolerance_percent` above the profile's.
    """
    drifted = [
        *_calls(profile, found),
        *_programs(profile, found),
        *_peaks(profile, found, tolerance_percent),
        *(each for use in found.memory for each in _memory(profile, use)),
        *_files(profile, found),
        *_asked_in_vain(profile, found),
    ]
    return tuple(sorted(drifted, key=lambda each: not each.matters))


def _calls(profile: Profile, found: Observations) -> Iterator[Drifted]:
    known = {(row.program, row.role, row.settled, row.call_name) for row in profile.role_calls}
    known_at_all = {(use.program, use.call_name) for use in profile.calls}
    arguments = {(row.program, row.call_name, row.values) for row in profile.arguments}
    for denial in found.denials:
        program, name, values = denial.program, denial.call_name, argument_values(denial)
        row = f" ({denial.role}, {denial.phase})" if denial.role else ""
        if denial.role:
            is_known = (program, denial.role, denial.phase == "serve", name) in known
        else:
            is_known = (program, name) in known_at_all
        if is_known and (not values or (program, name, values) in arguments):
            continue
        how = f" with {', '.join(map(hex, values))}" if is_known else ""
        what = f"{program}{row} called {name}{how}, which it never did when profiled"
        yield Drifted(
            kind="call", object=f"{program} {name}", profiled=0, observed=denial.count, what=what
        )


def _programs(profile: Profile, found: Observations) -> Iterator[Drifted]:
    """Where the profile says nothing of programs, nothing can be said of them."""
    known = {use.program for use in profile.calls} | {
        peak.program for peak in profile.program_peaks
    }
    for held in found.programs:
        if known and held.program not in known:
            what = f"{held.program} ran, which it never did when profiled"
            yield Drifted(
                kind="program", object=held.program, profiled=0, observed=held.processes, what=what
            )


def _peaks(profile: Profile, found: Observations, tolerance: int) -> Iterator[Drifted]:
    whole = (
        ("processes", profile.number_of_processes, found.peaks.processes),
        ("threads", profile.number_of_threads, found.peaks.threads),
        ("descriptors", profile.number_of_descriptors, found.peaks.descriptors),
        ("sockets", profile.number_of_sockets, found.peaks.sockets),
    )
    for name, profiled, observed in whole:
        yield from _peak(name, f"{name} at once", profiled, observed, tolerance)
    known = {peak.program: peak for peak in profile.program_peaks}
    for held in found.programs:
        if held.program in known:
            for name, profiled, observed in _of_program(known[held.program], held):
                what = f"{name} of {held.program} at once"
                yield from _peak(f"{held.program} {name}", what, profiled, observed, tolerance)


def _of_program(peak: ProgramPeak, held: HeldAtOnce) -> Iterator[tuple[str, int, int]]:
    for name in ("processes", "threads", "descriptors", "resident_kib"):
        yield name.replace("resident_kib", "KiB resident"), getattr(peak, name), getattr(held, name)


def _peak(name: str, what: str, profiled: int, observed: int, tolerance: int) -> Iterator[Drifted]:
    """A number that the profile does not have (0) cannot be compared."""
    if profiled and observed > profiled:
        matters = observed * 100 > profiled * (100 + tolerance)
        yield Drifted(
            kind="peak", object=name, profiled=profiled, observed=observed,
            what=f"{observed} {what}, and {profiled} when profiled", matters=matters,
        )  # fmt: skip


def _memory(profile: Profile, use: MemoryUse) -> Iterator[Drifted]:
    known = {row.block_size: row.peak for row in profile.allocations if row.program == use.program}
    wanted = {row.block_size: row.peak for row in allocations_of(use)}
    matters = use.static_share < MIN_STATIC_SHARE
    for array in use.arrays:
        if wanted.get(array.block_size, 0) > known.get(array.block_size, 0):
            what = (
                f"{array.relayed} blocks of up to {array.block_size} bytes of {use.program} found"
            )
            yield Drifted(
                kind="memory", object=f"{use.program} {array.block_size}", profiled=array.blocks,
                observed=array.blocks + array.relayed,
                what=f"{what} no free one of {array.blocks}", matters=matters,
            )  # fmt: skip
    for each in use.unexpected:
        if wanted.get(each.size, 0) > known.get(each.size, 0):
            what = f"{each.count} blocks of {each.size} bytes of {use.program} were not expected"
            yield Drifted(
                kind="memory", object=f"{use.program} {each.size}", profiled=0,
                observed=each.count, what=what, matters=matters,
            )  # fmt: skip
    if use.faults:
        what = f"{use.program} freed {use.faults} times what was not its to free"
        yield Drifted(
            kind="memory", object=f"{use.program} free", profiled=0, observed=use.faults, what=what
        )


def _asked_in_vain(profile: Profile, found: Observations) -> Iterator[Drifted]:
    """Path by path; names that were to be expected in a folder are one fact of it."""
    expected: dict[tuple[str, str], list[int]] = {}
    for each in unexpected_of(profile, found):
        if each.expected_in:
            key = (each.seen.program, each.expected_in)
            expected.setdefault(key, []).append(each.seen.count)
        else:
            yield _unexpected(each)
    for (program, folder), counts in expected.items():
        yield Drifted(
            kind="file", object=f"{program} {folder}", profiled=0, observed=sum(counts),
            what=f"{program} looked for {len(counts)} names below {folder} in vain, where names "
            "were not its own when profiled, either",
            matters=False,
        )  # fmt: skip
    if found.unexpected_files_unlisted:
        count = found.unexpected_files_unlisted
        what = "files were asked for in vain, and more of them than are listed"
        yield Drifted(
            kind="file", object="unlisted", profiled=0, observed=count, what=what, matters=False
        )


def _unexpected(each: Unexpected) -> Drifted:
    seen, known = each.seen, each.file is not None and each.file.kind != "missing"
    if not seen.is_missing:
        what = f"{seen.program} was refused {seen.path} ({seen.how}, {seen.error_name})"
    elif known:
        what = f"{seen.program} looked for {seen.path}, which was there when profiled"
    else:
        what = f"{seen.program} looked for {seen.path} in vain, which it never did when profiled"
    return Drifted(
        kind="file", object=f"{seen.program} {seen.path}", profiled=0, observed=seen.count,
        what=what, matters=each.matters,
    )  # fmt: skip


def _files(profile: Profile, found: Observations) -> Iterator[Drifted]:
    """Files in writable folders in which nothing was made when profiled.

    In the others names differ from run to run (numbers, dates), so that one more says nothing.
    """
    known = {file.path for file in profile.files}
    made_in = {
        posixpath.dirname(file.path)
        for file in profile.files
        if any(use.how in _MAKING for use in file.uses)
    }
    for folder in found.folders:
        new = [name for name in folder.names if posixpath.join(folder.path, name) not in known]
        if new and folder.path not in made_in and not is_below(folder.path, _OUR_OWN):
            count = folder.entries - len(folder.names) + len(new)
            shown = ", ".join(sorted(new)[:3])
            what = f"{folder.path} has {count} files that nobody made when profiled: {shown}"
            yield Drifted(kind="file", object=folder.path, profiled=0, observed=count, what=what)
