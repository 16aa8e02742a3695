"""How strace writes values: quoted strings, symbolic flags, arguments, decorated descriptors."""

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

# <...> decorates a descriptor (-y): a path, TCP:[a->b], or one more in it. Not the << of a shift.
_DECORATION = r"<(?!<)(?:->|<[^<>]*>|[^<>])*>"
# What is not closed goes to the end of the text, so that no text is searched over and over.
_PIECE = re.compile(
    r'"(?:[^"\\]|\\.)*+"?|/\*(?:.*?\*/|.*)'
    rf"|(?<=[0-9D]){_DECORATION}|[()\[\]{{}},]|[^\"()\[\]{{}},/<]+|.",
    re.S,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-fA-F]{2}|.)", re.S)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f"}
_COMMENT = re.compile(r"/\*.*?\*/")
_DESCRIPTOR = re.compile(rf"(-?\d+|AT_FDCWD)\s*({_DECORATION})?")
_TERM = re.compile(r"(~?)(-?(?:0x[0-9a-fA-F]{1,16}|\d{1,20})|[A-Za-z_]\w*)")
_SHIFT = re.compile(r"(\d{1,9})<<(\d{1,2})")
_PRODUCT = re.compile(r"(\d{1,9})\*(\d{1,9})")
_SWAPPED = re.compile(r"hton([sl])\((.*)\)")
_IOC = re.compile(r"_IOC\(([^,]*), ([^,]*), ([^,]*), ([^,]*)\)")
_IOC_WAYS = {"_IOC_NONE": 0, "_IOC_WRITE": 1, "_IOC_READ": 2}  # asm-generic/ioctl.h
_FIRST_REALTIME_SIGNAL = 32
_WORD = 0xFFFF_FFFF
_MAX_KEPT = 512  # characters of what is remembered, for logs repeat themselves


class Text(NamedTuple):
    """A quoted string; `cut` where the tool left out its end."""

    text: str
    cut: bool


class Descriptor(NamedTuple):
    """A descriptor, AT_FDCWD as -100; `what` it is where the tool says so (strace -y)."""

    number: int
    what: str


@cache
def _constants() -> dict[str, int]:
    text = files("onejob.profiler.imports").joinpath("constants.txt").read_text()
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return {name: int(value) for name, value in rows}


def split_arguments(text: str) -> tuple[str, ...]:
    """The arguments of a call, at the commas that are in no string, structure or list."""
    return _split_again(text) if len(text) <= _MAX_KEPT else _split(text)


def _split(text: str) -> tuple[str, ...]:
    arguments: list[str] = []
    begin = depth = 0
    for piece in _PIECE.finditer(text):
        character = piece[0]
        if character in ("(", "[", "{"):
            depth += 1
        elif character in (")", "]", "}"):
            depth -= 1
        elif character == "," and depth == 0:
            arguments.append(text[begin : piece.start()].strip())
            begin = piece.end()
    last = text[begin:].strip()
    return (*arguments, last) if arguments or last else ()


_split_again = lru_cache(maxsize=8192)(_split)


def read_text(argument: str) -> Text | None:
    """The string that `argument` is; None where it is none (NULL, an address)."""
    found = re.fullmatch(r'"(.*)"(\.\.\.)?', argument, re.S)
    return Text(_unescaped(found[1]), bool(found[2])) if found else None


def _unescaped(text: str) -> str:
    """Up to a NUL, with which the kernel's strings end."""
    if "\\" in text:
        # Each escape stands for a byte, so that a character beyond ASCII comes in several.
        plain = _ESCAPE.sub(_byte, text.encode(errors="surrogateescape"))
        text = plain.decode(errors="surrogateescape")
    return text.partition("\0")[0]


def _byte(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    if code[0] in b"01234567":
        return bytes([int(code, 8) & 0xFF])
    return bytes([int(code[1:], 16)]) if len(code) == 3 else _ESCAPES.get(code, code)


def read_descriptor(argument: str) -> Descriptor | None:
    """The descriptor that `argument` is, with what it was decorated with."""
    found = _DESCRIPTOR.match(argument)
    if not found:
        return None
    number = -100 if found[1] == "AT_FDCWD" else int(found[1][:11])
    return Descriptor(number, _unescaped(found[2][1:-1]) if found[2] else "")


def read_number(argument: str) -> int | None:
    """The value of a number or of symbols joined by ``|``, as a register of 32 bits has it where it
    is negative; None where it is not known."""
    return _number(argument) if len(argument) <= _MAX_KEPT else None


@lru_cache(maxsize=4096)
def _number(argument: str) -> int | None:
    text = _COMMENT.sub("", argument).strip()
    if found := _SWAPPED.fullmatch(text):
        inner, size = read_number(found[2]), 2 if found[1] == "s" else 4
        return None if inner is None else _swapped(inner, size)
    if found := _IOC.fullmatch(text):
        return _ioctl_command(*found.groups())
    if " or " in text:  # several names of one number
        values = (read_number(name) for name in text.split(" or "))
        return next((value for value in values if value is not None), None)
    value = 0
    for term in text.split("|"):
        number = _term(term.strip())
        if number is None:
            return None
        value |= number
    return value


def _term(text: str) -> int | None:
    if found := _SHIFT.fullmatch(text):
        return int(found[1]) << int(found[2])
    if found := _PRODUCT.fullmatch(text):
        return int(found[1]) * int(found[2])
    found = _TERM.fullmatch(text)
    if not found:
        return None
    value = _named(found[2]) if found[2][0].isalpha() or found[2][0] == "_" else _literal(found[2])
    if value is None:
        return None
    value = ~value if found[1] else value
    return value & _WORD if value < 0 else value & 0xFFFF_FFFF_FFFF_FFFF


def _literal(text: str) -> int:
    digits = text.removeprefix("-")
    octal = len(digits) > 1 and digits.isdigit() and digits[0] == "0" and not set(digits) & {*"89"}
    value = int(digits, 8 if octal else 16 if digits.startswith("0x") else 10)
    return -value if text.startswith("-") else value


def _named(name: str) -> int | None:
    if name == "NULL":
        return 0
    if found := re.fullmatch(r"SIGRT(?:MIN|_(\d{1,2}))", name):
        return _FIRST_REALTIME_SIGNAL + int(found[1] or 0)
    return _constants().get(name)


def _swapped(value: int, size: int) -> int:
    return int.from_bytes((value % (1 << 8 * size)).to_bytes(size, "big"), "little")


def _ioctl_command(ways: str, kind: str, number: str, size: str) -> int | None:
    numbers = [read_number(kind), read_number(number), read_number(size)]
    known = [_IOC_WAYS.get(way) for way in ways.split("|")]
    if None in numbers or None in known:
        return None
    kind_, number_, size_ = (value or 0 for value in numbers)
    way = sum(value or 0 for value in known)
    return (way & 3) << 30 | (size_ & 0x3FFF) << 16 | (kind_ & 0xFF) << 8 | number_ & 0xFF
