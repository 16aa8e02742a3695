"""Profiles by chance: hypothesis strategies for every noun, from the nouns' own types."""

import types
import typing
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from onejob.model.noun import Noun
from onejob.model.profile import FileUse, Profile
from onejob.model.profile_rules import RULES, Rule

# Few words and small numbers, so that facts of two profiles meet.
WORDS = st.sampled_from(["", "a", "b", "/bin/x", "/lib/y.so.1"])
_SAME = ("name", "program", "workload")  # what profiles of one service have in common


def rows(noun: type[Noun]) -> st.SearchStrategy[Any]:
    """Any `noun`; `sha256` is always the same, as profiles of one binary have it."""
    hints = typing.get_type_hints(noun, include_extras=True)
    parts = {name: _values(hints[name]) for name in noun.model_fields}
    if noun is FileUse:
        parts["sha256"] = st.just("")
    if noun is Profile:
        parts |= {name: st.just("same") for name in _SAME}
        for name, rule in RULES[Profile].items():
            if rule in (Rule.ROWS, Rule.SEQUENCE):
                parts[name] = st.lists(_member(hints[name]), max_size=2).map(tuple)
    return st.builds(noun, **parts)


def profiles() -> st.SearchStrategy[Profile]:
    """Any profile."""
    return rows(Profile)


def _member(hint: Any) -> st.SearchStrategy[Any]:
    """A member of a list of facts: in Annotated[Sequence[member], ...]."""
    return _values(typing.get_args(typing.get_args(hint)[0])[0])


def _values(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _values(arguments[0])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin in (tuple, Sequence):
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if origin is types.UnionType:
        return st.one_of(*map(_values, arguments))
    if hint is types.NoneType:
        return st.none()
    if isinstance(hint, type) and issubclass(hint, Noun):
        return rows(hint)
    return {str: WORDS, int: st.integers(0, 5), bool: st.booleans()}[hint]
