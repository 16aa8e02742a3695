"""Several profiles of one service become one: what any of them saw, with the peaks of all.

How each field combines is in `profile_rules`. Up to order, and to name and workload, which are
those of the first, it does not matter in which order, or by which steps, profiles are merged.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from onejob.model.errors import InputError
from onejob.model.noun import Noun, make_unchecked
from onejob.model.paths import resolve
from onejob.model.profile import FileUse, Profile, Provenance
from onejob.model.profile_rules import RULES, Rule, combiner, fields_of, key_getter

NounT = TypeVar("NounT", bound=Noun)
# What a profile that does not say how it was taken is to those that do.
UNKNOWN = Provenance(
    onejob="", machine="", kernel="", libc="", distribution="", backend="import",
    partial="a profile that does not say how it was taken",
)  # fmt: skip
_LIBRARY = re.compile(r"\.so(\.[0-9.]+)?$")
_SHOWN = 8


class Labelled(NamedTuple):
    """A profile, and the words for it among a merged one's sources."""

    label: str
    profile: Profile


def merge_profiles(profiles: Sequence[Labelled], *, force: bool = False) -> Profile:
    """The profile that stands for all of `profiles`, at least one.

    InputError where they are of different binaries, and not `force`.
    """
    if not force:
        _need_same_binaries(profiles)
    return combine([_with_source(labelled) for labelled in profiles])


def _with_source(labelled: Labelled) -> Profile:
    known = labelled.profile.provenance or UNKNOWN
    sources = known.sources or (labelled.label,)
    provenance = known.model_copy(update={"sources": sources})
    return labelled.profile.model_copy(update={"provenance": provenance})


def combine(rows: Sequence[NounT]) -> NounT:
    """The one row that stands for all of `rows`, which have the same key."""
    noun = type(rows[0])
    columns = [row.__dict__ for row in rows]
    values = {**columns[0], **_state(rows)}
    for name, combine_one in _combiners(noun):
        values[name] = combine_one([column[name] for column in columns])
    return make_unchecked(noun, values)


@cache
def _combiners(noun: type[Noun]) -> tuple[tuple[str, Callable[[Sequence[Any]], Any]], ...]:
    """How each field of `noun` combines that does so by itself."""
    own: dict[Rule, Callable[..., Any]] = {
        Rule.ROWS: _merge_rows,
        Rule.SEQUENCE: _merge_sequences,
        Rule.PART: _merge_parts,
    }
    rules = RULES[noun].items()
    return tuple(
        (name, own.get(rule) or combiner(rule))
        for name, rule in rules
        if rule not in (Rule.KEY, Rule.STATE)
    )


def _state(rows: Sequence[Noun]) -> dict[str, Any]:
    """The fields of state, all from the row in which they are greatest, so that they agree."""
    names = fields_of(type(rows[0]), Rule.STATE)
    if not names:
        return {}
    states = [tuple(getattr(row, name) for name in names) for row in rows]
    return dict(zip(names, max(states), strict=True))


def _merge_parts(values: Sequence[NounT | None]) -> NounT | None:
    parts = [value for value in values if value is not None]
    return combine(parts) if parts else None


def _merge_rows(lists: Sequence[Sequence[NounT]]) -> tuple[NounT, ...]:
    merged = by_key(lists)
    return tuple(merged[key] for key in sorted(merged))


def by_key(lists: Iterable[Sequence[NounT]]) -> dict[tuple[Any, ...], NounT]:
    """The rows of all `lists`, of one noun, by what identifies them; equal keys are combined."""
    single: dict[tuple[Any, ...], NounT] = {}
    several: dict[tuple[Any, ...], list[NounT]] = {}
    for rows in lists:
        if not rows:
            continue
        key_of = key_getter(type(rows[0]))
        for row in rows:
            key = key_of(row)
            if key not in single:
                single[key] = row
            else:
                several.setdefault(key, [single[key]]).append(row)
    for key, group in several.items():
        single[key] = combine(group)
    return single


def _merge_sequences(lists: Sequence[Sequence[NounT]]) -> tuple[NounT, ...]:
    """As the first list has them; what a later one adds stands after what it followed there."""
    order: list[tuple[Any, ...]] = []
    for rows in lists:
        place = 0
        for key in [key_getter(type(row))(row) for row in rows]:
            if key not in order:
                order.insert(place, key)
            place = order.index(key) + 1
    merged = by_key(lists)
    return tuple(merged[key] for key in order)


# --- of the same binaries ------------------------------------------------------------------------


def _need_same_binaries(profiles: Sequence[Labelled]) -> None:
    for number, other in enumerate(profiles):
        for first in profiles[:number]:
            if differing := sorted(differing_binaries(first.profile, other.profile)):
                more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
                names = ", ".join(differing[:_SHOWN])
                raise InputError(
                    f"{first.label} and {other.label} are of different binaries: {names}{more}",
                    "a new version of the service is a new profile; --force merges all the same",
                )


def differing_binaries(a: Profile, b: Profile) -> set[str]:
    """The programs and libraries that one of both loaded, and whose contents differ."""
    programs = {_program_of(profile) for profile in (a, b) if profile.program}
    ours, theirs = _hashes(a), _hashes(b)
    code = (code_of(a) | code_of(b)) & ours.keys() & theirs.keys()
    different = {path for path in code if ours[path] != theirs[path]}
    return different | (programs if len(programs) > 1 else set())


def code_of(profile: Profile) -> set[str]:
    """Every executed program and mapped library, and the service's own program."""
    return {_program_of(profile), *(file.path for file in profile.files if _is_code(file))}


def _hashes(profile: Profile) -> dict[str, str]:
    return {file.path: file.sha256 for file in profile.files if file.sha256}


def _program_of(profile: Profile) -> str:
    targets = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    return resolve(profile.program, targets)[-1]


def _is_code(file: FileUse) -> bool:
    ways = {use.how for use in file.uses}
    linked = bool(file.needed or file.interpreter or _LIBRARY.search(file.path))
    return "executed" in ways or ("mapped" in ways and linked)
