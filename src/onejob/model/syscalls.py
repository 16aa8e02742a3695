"""Names and numbers of the x86_64 system calls.

Source: the kernel's arch/x86/entry/syscalls/syscall_64.tbl, entries ``common`` and ``64``, kept in
syscalls_x86_64.txt; a test compares it with the kernel headers of the machine.
"""

import re
from functools import cache
from importlib.resources import files


@cache
def _table() -> dict[int, str]:
    text = files("onejob.model").joinpath("syscalls_x86_64.txt").read_text()
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return {int(number): name for number, name in rows}


@cache
def _numbers() -> dict[str, int]:
    return {name: number for number, name in _table().items()}


def call_name(number: int) -> str:
    """The name of call `number`; ``call_N`` for one newer than the table."""
    return _table().get(number, f"call_{number}")


def call_number(name: str) -> int | None:
    """The number of the call called `name`; None where there is none."""
    if unnamed := re.fullmatch("call_([1-9][0-9]{0,3})", name):
        number = int(unnamed[1])
        return None if number in _table() else number
    return _numbers().get(name)


def known_calls() -> tuple[str, ...]:
    """All names, by number."""
    return tuple(_table()[number] for number in sorted(_table()))
