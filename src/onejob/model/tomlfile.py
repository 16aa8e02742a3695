"""TOML files of ours: read, validated, every complaint with file and line."""

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from onejob.model.errors import InputError
from onejob.model.noun import Noun, describe_invalid, place_text, read_text

Place = tuple[str | int, ...]
NounT = TypeVar("NounT", bound=Noun)

_HEADER = re.compile(r"^\s*(\[\[?)\s*([\w.\-\"]+)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*([\w\-]+|\"[^\"]*\")(\.[\w\-]+)*\s*=")


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
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name}: not TOML: {error}") from error
    try:
        # TOML has arrays where the nouns have tuples, so strictness is the nouns' own business.
        return noun.model_validate(data, strict=False)
    except ValidationError as error:
        raise _complaint(error, text, name) from error


def _complaint(error: ValidationError, text: str, name: str) -> InputError:
    lines = key_lines(text)
    complaints = []
    for place, words in describe_invalid(error):
        complaints.append(f"{name}:{_line_of(place, lines)}: {place_text(place)}: {words}")
    return InputError("\n".join(complaints))


def _line_of(place: Place, lines: dict[Place, int]) -> int:
    """The line of the longest known beginning of `place`."""
    for end in range(len(place), 0, -1):
        if place[:end] in lines:
            return lines[place[:end]]
    return 1


def key_lines(text: str) -> dict[Place, int]:
    """Where each table and key of a TOML text stands, by place."""
    found: dict[Place, int] = {}
    seen: defaultdict[str, int] = defaultdict(int)
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = header[2].replace('"', "")
            table = tuple(name.split("."))
            if header[1] == "[[":
                table = (*table, seen[name])
                seen[name] += 1
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            parts = key[0].rstrip(" =").strip().replace('"', "").split(".")
            found.setdefault((*table, *parts), number)
    return found
