"""The common ground of all nouns: frozen, validated, unknown keys refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from onejob.model.errors import InputError

# No file form of ours is legitimately larger; a larger one is refused unread.
MAX_FILE_BYTES = 64 * 1024 * 1024


class Noun(BaseModel):
    """A frozen value; two with the same content are equal and hash alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def read_text(path: Path, kind: str) -> str:
    """The UTF-8 text of `path`; InputError names the file where it can't be had."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{kind} {path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{kind} {path}: larger than {MAX_FILE_BYTES} bytes")
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
