"""On which line each table, key and array member of a TOML text stands.

The text is known to be valid (tomllib has read it), so this only has to tell the parts apart.
"""

import re
from typing import NamedTuple

Place = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""[ \t\r]+ | \#[^\n]*
    | (?P<string>\"{3}(?:\\.|[^\\])*?\"{3,5} | '{3}.*?'{3,5} | "(?:\\.|[^"\\])*" | '[^']*')
    | (?P<mark>[\n\[\]{}=,.])
    | (?P<word>[^\s\[\]{}=,."'\#]+)""",
    re.DOTALL | re.VERBOSE,
)


class _Token(NamedTuple):
    """A piece of the text; `kind` is the character itself for a mark."""

    kind: str
    text: str
    line: int


def key_lines(text: str) -> dict[Place, int]:
    """The line of each place; a place is as in pydantic's errors, ``("drill", 2, "name")``."""
    return _Lines(_tokens(text)).all()


def _tokens(text: str) -> list[_Token]:
    tokens = []
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup is not None:
            kind = match[0] if match.lastgroup == "mark" else match.lastgroup
            tokens.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
    return [*tokens, _Token("\n", "\n", line), _Token("end", "", line)]


class _Lines:
    """Reads the tokens once; `found` fills on the way."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._members: dict[Place, int] = {}  # of arrays of tables, so far
        self.found: dict[Place, int] = {}

    def all(self) -> dict[Place, int]:
        table: Place = ()
        while self._skip_newlines().kind != "end":
            if self._take("["):
                table = self._header()
            else:
                self._pair(table)
        return self.found

    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *kinds: str) -> bool:
        taken = self._next().kind in kinds
        self._at += taken
        return taken

    def _skip_newlines(self) -> _Token:
        while self._take("\n"):
            pass
        return self._next()

    def _note(self, place: Place, line: int) -> None:
        self.found.setdefault(place, line)

    def _key(self) -> tuple[str, ...]:
        parts = []
        while self._next().kind in ("word", "string"):
            parts.append(self._next().text.strip("\"'"))
            self._at += 1
            self._take(".")
        return tuple(parts)

    def _header(self) -> Place:
        line = self._next().line
        is_array = self._take("[")
        *first, last = self._key()
        while self._take("]"):
            pass
        place: Place = ()
        for part in first:
            place = self._inside((*place, part))
        place = (*place, last)
        if is_array:
            self._members[place] = self._members.get(place, 0) + 1
            self._note(place, line)
        place = self._inside(place)
        self._note(place, line)
        return place

    def _inside(self, place: Place) -> Place:
        """The latest member, where `place` is an array of tables."""
        return (*place, self._members[place] - 1) if place in self._members else place

    def _pair(self, table: Place) -> None:
        line = self._next().line
        place = table
        for part in self._key():
            place = (*place, part)
            self._note(place, line)
        self._take("=")
        self._value(place)

    def _value(self, place: Place) -> None:
        self._note(place, self._next().line)
        if self._take("["):
            self._members_of(place)
        elif self._take("{"):
            while self._skip_newlines().kind not in ("}", "end"):
                self._pair(place)
                self._take(",")
            self._take("}")
        else:
            while self._take("word", "string", "."):
                pass

    def _members_of(self, place: Place) -> None:
        number = 0
        while self._skip_newlines().kind not in ("]", "end"):
            self._value((*place, number))
            self._skip_newlines()
            self._take(",")
            number += 1
        self._take("]")
