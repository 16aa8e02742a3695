"""What each system call is for, in words: one purpose per call, from call_purposes.txt."""

from functools import cache
from importlib.resources import files

UNKNOWN = "newer than the table"


@cache
def _purposes() -> dict[str, str]:
    text = files("onejob.model").joinpath("call_purposes.txt").read_text()
    rows = (line.partition(":") for line in text.splitlines() if line and line[0] != "#")
    return {name: purpose for purpose, _, names in rows for name in names.split()}


def purpose_of(name: str) -> str:
    """The purpose of the call called `name`."""
    return _purposes().get(name, UNKNOWN)


def purposes() -> tuple[str, ...]:
    """All purposes, in the order in which they are worth reading."""
    return tuple(dict.fromkeys(_purposes().values()))
