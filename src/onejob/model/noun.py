"""The common ground of all nouns: frozen, validated, unknown keys refused."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from onejob.model.errors import InputError

# No file form of ours but the profile is legitimately larger; a larger one is refused.
MAX_FILE_BYTES = 64 * 1024 * 1024
_CHUNK = 64 * 1024


class Noun(BaseModel):
    """A frozen value; two with the same content are equal and hash alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


NounT = TypeVar("NounT", bound=Noun)


@cache
def _names_of(noun: type[Noun]) -> set[str]:
    """The names of all fields; pydantic changes it in copies only."""
    return set(noun.model_fields)


def make_unchecked(noun: type[NounT], values: dict[str, Any]) -> NounT:
    """A `noun` of `values` for all of its fields that are known to be right.

    As pydantic's model_construct, at a tenth of its time: for what is made a million times.
    """
    made = noun.__new__(noun)
    object.__setattr__(made, "__dict__", values)
    object.__setattr__(made, "__pydantic_fields_set__", _names_of(noun))
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made


def read_chunks(path: Path, kind: str, limit: int = MAX_FILE_BYTES) -> Iterator[bytes]:
    """The bytes of `path`, piece by piece; InputError names the file where they can't be had."""
    size = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise InputError(f"{kind} {path}: larger than {limit} bytes")
                yield chunk
    except OSError as error:
        raise InputError(f"{kind} {path}: {error.strerror}") from error


def read_text(path: Path, kind: str) -> str:
    """The UTF-8 text of `path`; InputError names the file where it can't be had."""
    data = b"".join(read_chunks(path, kind))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{kind} {path}: not UTF-8 at byte {error.start}") from error


def describe_invalid(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """Each complaint of pydantic as (place, words)."""
    return [(tuple(e["loc"]), _words(e)) for e in error.errors(include_url=False)]


def _words(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    return str(error["msg"]).removeprefix("Value error, ")


def place_text(place: Sequence[str | int]) -> str:
    """``("drill", 2, "name")`` as ``drill[2].name``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
