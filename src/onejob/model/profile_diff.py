"""What two profiles of one service do not have in common, fact by fact.

What identifies a fact and what was measured of it is in `profile_rules`. How often something was
done differs from run to run; so there are three measures of how closely to look.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

from pydantic import Field

from onejob.model.noun import Noun, make_unchecked
from onejob.model.profile import Profile, Provenance
from onejob.model.profile_merge import by_key
from onejob.model.profile_rules import RULES, Rule, fields_of

Measures = Literal["none", "peaks", "all"]
Scalar = str | int | bool | tuple[str, ...] | tuple[int, ...]
# What is not looked at under each measure.
_UNSEEN: dict[Measures, set[Rule]] = {
    "none": {Rule.COUNT, Rule.PEAK, Rule.MOST, Rule.LEAST},
    "peaks": {Rule.COUNT, Rule.MOST, Rule.LEAST},
    "all": set(),
}
_NOTHING = Provenance(
    onejob="", machine="", kernel="", libc="", distribution="", backend="import"
)  # fmt: skip


class Change(Noun):
    """A field of a fact that is not the same."""

    field: str
    before: Scalar
    after: Scalar


class Difference(Noun):
    """One fact that was added, removed or changed.

    `kind` is the profile's property; ``files.uses`` for the uses of a file that both have,
    ``profile`` for what the profile says of the whole service.
    """

    kind: str
    what: Literal["added", "removed", "changed"]
    fact: dict[str, Scalar] = Field(default_factory=dict)
    changes: tuple[Change, ...] = ()


class Differences(Noun):
    """All that two profiles do not have in common."""

    differences: tuple[Difference, ...] = ()


def diff_profiles(a: Profile, b: Profile, measures: Measures = "peaks") -> Differences:
    """What `b` has, lacks or has otherwise than `a`, sorted by kind and fact."""
    return Differences(differences=tuple(_Comparison(measures).whole(a, b)))


class _Comparison:
    """Compares under one measure."""

    def __init__(self, measures: Measures) -> None:
        self._unseen = _UNSEEN[measures]
        self._zero_matters = measures != "none"

    def whole(self, a: Profile, b: Profile) -> Iterator[Difference]:
        yield from self._fact("profile", {}, a, b)
        for name in fields_of(Profile, Rule.PART):
            ours, theirs = getattr(a, name) or _NOTHING, getattr(b, name) or _NOTHING
            yield from self._fact(name, {}, ours, theirs)
        for name in fields_of(Profile, Rule.ROWS, Rule.SEQUENCE):
            yield from self._rows(name, {}, getattr(a, name), getattr(b, name))

    def _rows(
        self, kind: str, above: dict[str, Scalar], a: Sequence[Noun], b: Sequence[Noun]
    ) -> Iterator[Difference]:
        ours, theirs = by_key([a]), by_key([b])
        for key in sorted(ours.keys() | theirs.keys()):
            old, new = ours.get(key), theirs.get(key)
            if old is None or new is None:
                fact = {**above, **_key_fields(old or new)}
                yield _difference(kind, "added" if old is None else "removed", fact)
            elif old.__dict__ != new.__dict__:
                fact = {**above, **_key_fields(new)}
                yield from self._fact(kind, fact, old, new)
                for name in fields_of(type(old), Rule.ROWS):
                    inner = getattr(old, name), getattr(new, name)
                    yield from self._rows(f"{kind}.{name}", fact, *inner)

    def _fact(
        self, kind: str, fact: dict[str, Scalar], old: Noun, new: Noun
    ) -> Iterator[Difference]:
        changes = tuple(self._changes(old, new))
        if changes:
            yield _difference(kind, "changed", fact, changes)

    def _changes(self, old: Noun, new: Noun) -> Iterator[Change]:
        ours, theirs = old.__dict__, new.__dict__
        for name, rule in _own_fields(type(old)):
            before, after = ours[name], theirs[name]
            if before != after and self._seen(rule, before, after):
                values = {"field": name, "before": before, "after": after}
                yield make_unchecked(Change, values)

    def _seen(self, rule: Rule, before: Any, after: Any) -> bool:
        """A count that appears is more than load: a call fails now, events are lost."""
        appeared = rule is Rule.COUNT and not (before and after)
        return rule not in self._unseen or (appeared and self._zero_matters)


def _difference(
    kind: str, what: str, fact: dict[str, Scalar], changes: tuple[Change, ...] = ()
) -> Difference:
    values = {"kind": kind, "what": what, "fact": fact, "changes": changes}
    return make_unchecked(Difference, values)


@cache
def _own_fields(noun: type[Noun]) -> tuple[tuple[str, Rule], ...]:
    """The fields of `noun` that hold no facts of their own."""
    others = (Rule.ROWS, Rule.SEQUENCE, Rule.PART)
    return tuple((name, rule) for name, rule in RULES[noun].items() if rule not in others)


def _key_fields(row: Noun | None) -> dict[str, Scalar]:
    return {name: getattr(row, name) for name in fields_of(type(row), Rule.KEY)} if row else {}
