"""JSON files of ours: read and validated, written in one stable form."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from onejob.model.errors import InputError
from onejob.model.noun import Noun, describe_invalid, place_text, read_text

NounT = TypeVar("NounT", bound=Noun)


def load_json(path: Path, noun: type[NounT], kind: str) -> NounT:
    """Read `path` as a `noun`; InputError names file, place and what is wrong."""
    return parse_json(read_text(path, kind), noun, f"{kind} {path}")


def parse_json(text: str, noun: type[NounT], name: str) -> NounT:
    """The same for text in hand; `name` stands for the file in messages."""
    try:
        return noun.model_validate_json(text)
    except ValidationError as error:
        complaints = [f"{place_text(p)}: {w}" if p else w for p, w in describe_invalid(error)]
        raise InputError(f"{name}: " + "; ".join(complaints[:8])) from error
    except RecursionError as error:
        raise InputError(f"{name}: nested too deeply") from error


def to_json(noun: Noun) -> str:
    """The one file form: fields in declaration order, two blanks, a final newline."""
    return _text(noun.model_dump(mode="json", exclude_defaults=False))


def rows_to_json(nouns: Iterable[Noun]) -> str:
    """A list of nouns in the same form."""
    return _text([noun.model_dump(mode="json") for noun in nouns])


def _text(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
