"""TOML files of ours: read, validated, every complaint with file and line."""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from onejob.model.errors import InputError
from onejob.model.noun import Noun, describe_invalid, place_text, read_text
from onejob.model.tomllines import Place, key_lines

NounT = TypeVar("NounT", bound=Noun)


def load_toml(path: Path, noun: type[NounT], kind: str) -> NounT:
    """Read `path` as a `noun`.

    Raises InputError ``FILE:LINE: PLACE: what`` for a syntax error, an unknown key or a value
    that does not fit.
    """
    return parse_toml(read_text(path, kind), noun, str(path))


def parse_toml(text: str, noun: type[NounT], name: str) -> NounT:
    """The same for text already in hand; `name` stands for the file in messages."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}:{_line_in(error, text)}: not TOML: {error}") from error
    try:
        return noun.model_validate(_as_tuples(data))
    except ValidationError as error:
        raise _complaint(error, text, name) from error


def _line_in(error: Exception, text: str) -> int:
    """tomllib tells the line in words; of a number too long or a nesting too deep not at all."""
    told = re.search(r"\(at line ([0-9]+), ", str(error))
    at_end = "(at end of document)" in str(error)
    return int(told[1]) if told else max(len(text.splitlines()), 1) if at_end else 1


def _as_tuples(value: object) -> object:
    """TOML has arrays where the nouns, which are strict, have tuples."""
    if isinstance(value, dict):
        return {key: _as_tuples(item) for key, item in value.items()}
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value


def _complaint(error: ValidationError, text: str, name: str) -> InputError:
    lines = key_lines(text)
    complaints = []
    for place, words in describe_invalid(error):
        where = f"{place_text(place)}: " if place else ""
        complaints.append(f"{name}:{_line_of(place, lines)}: {where}{words}")
    return InputError("\n".join(complaints))


def _line_of(place: Place, lines: dict[Place, int]) -> int:
    """The line of the longest known beginning of `place`."""
    for end in range(len(place), 0, -1):
        beginning = place[:end]
        # One thing where a list of such things may stand has no number in the text.
        shorter = [beginning[:i] + beginning[i + 1 :] for i in range(2, end - 1)]
        for known in (beginning, *(s for i, s in enumerate(shorter, 2) if place[i] == 0)):
            if known in lines:
                return lines[known]
    return 1
