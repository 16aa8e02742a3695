"""Rounds: the same drills again in one run, which the probe knows as drills: ``serve#2``.

A profile knows no rounds: what was recorded of those of one drill is added up before it is used.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from onejob.profiler.recording import Recording, Seen

_MARK = "#"  # no drill has it in its name (onejob.model.workload.NAME_PATTERN)
_ADDS_UP = {"count", "failed", "bytes", "jumps", "accepted", "refused"}
_PEAKS = {"backlog", "queue_peak"}
_MEASURES = {*_ADDS_UP, *_PEAKS, "errors"}


def round_name(drill: str, number: int) -> str:
    """What the probe is told for round `number` of `drill`; the first has the drill's own name."""
    return drill if number == 1 else f"{drill}{_MARK}{number}"


def drill_of(name: str) -> str:
    """The drill that a round is of."""
    return name.partition(_MARK)[0]


def fold_rounds(recording: Recording) -> Recording:
    """`recording` as if each drill had been one long one."""
    drills = tuple(dict.fromkeys(map(drill_of, recording.drills)))
    if drills == recording.drills:
        return recording
    numbers = [drills.index(drill_of(name)) for name in recording.drills]
    folded = {
        name: _fold(rows, numbers)
        for name, rows in recording
        if isinstance(rows, tuple) and rows and hasattr(rows[0], "drill")
    }
    return recording.model_copy(update={**folded, "drills": drills})


def _fold(rows: Iterable[Seen], numbers: Sequence[int]) -> tuple[Seen, ...]:
    """The rows with the numbers of drills instead of rounds; those of one fact become one."""
    found: dict[tuple[Any, ...], Seen] = {}
    for seen in rows:
        row = seen.model_copy(update={"drill": numbers[seen.drill]})
        key = tuple(value for name, value in row if name not in _MEASURES)
        found[key] = _added(found[key], row) if key in found else row
    return tuple(found.values())


def _added(a: Seen, b: Seen) -> Seen:
    sums: dict[str, Any] = {}
    for name, value in a:
        other = getattr(b, name)
        if name in _ADDS_UP:
            sums[name] = value + other
        elif name in _PEAKS:
            sums[name] = max(value, other)
        elif name == "errors":
            sums[name] = {
                errno: value.get(errno, 0) + other.get(errno, 0) for errno in value | other
            }
    return a.model_copy(update=sums)
