"""Nouns as lines of text and back: one noun a line, one field a cell; what a table's rows are.

Cells are separated by tabs. An empty cell is the field's default, or nothing where it has none.
Each member of a list ends with a comma, and the fields of a noun in a list are separated by ``|``.
``@7`` is the table's word number 7. In other texts a backslash, a hexadecimal number and a
semicolon stand for a character: for those that mean something here, and those that XML lacks;
``\\;`` stands for nothing at all: a text that is empty where the default is not.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin

from annotated_types import Ge, Le, Lt
from pydantic.fields import FieldInfo

from onejob.model.noun import Noun, make_unchecked

MAX_WORDS = 16_384
_SHORT = 64  # characters
MAX_WORD_CHARACTERS = 1_000_000  # of all words together
# What is another in nearly every row is no word.
_OWN = {"path", "sha256", "target", "object"}
_SPECIAL = re.compile("[\x00-\x1f\x7f\\\\,|\ud800-\udfff\ufffe\uffff]|^@")
_ESCAPE = re.compile(r"\\([0-9a-f]*);")
_TEXT = r"(?!@)[^\t\n\r\\,|]*+(?:\\(?:10[0-9a-f]{4}|[0-9a-f]{0,5});[^\t\n\r\\,|]*+)*"
NounT = TypeVar("NounT", bound=Noun)


class BadLine(ValueError):
    """A line that is none of its table; `number` counts from 0."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


class _Cell(NamedTuple):
    """What stands for the values of one field."""

    encode: Callable[[Any], str]
    decode: Callable[[str], Any]
    pattern: str


class Words:
    """Texts that stand in many rows, by number."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.known = list(known)
        self._cells = {word: f"@{number}" for number, word in enumerate(self.known)}
        self._words = {f"@{number}": word for number, word in enumerate(self.known)}
        self._room = MAX_WORD_CHARACTERS - sum(map(len, self.known))

    def encode(self, text: str) -> str:
        """The cell of `text`, which becomes a word where there is room."""
        return self._cells.get(text) or self._new(text)

    def _new(self, text: str) -> str:
        if len(text) < 4 or len(text) > self._room or len(self.known) == MAX_WORDS:
            return escape(text)
        cell = self._cells[text] = f"@{len(self.known)}"
        self._words[cell] = text
        self.known.append(text)
        self._room -= len(text)
        return cell

    def decode(self, cell: str) -> str:
        """The text of a cell."""
        word = self._words.get(cell)
        return unescape(cell) if word is None else word

    @property
    def pattern(self) -> str:
        """What cells may be: a word that there is, or text."""
        word = f"@(?:{numbers_up_to(len(self.known) - 1)})|" if self.known else ""
        return f"(?:{word}{_TEXT})"


class Layout(Generic[NounT]):
    """The columns of a table of `noun`, and its words.

    `columns` as its head line has them: ``path``, ``uses(program|drill)``; without it, all fields.
    ValueError says what is wrong with them.
    """

    def __init__(self, noun: type[NounT], columns: str = "", words: Iterable[str] = ()) -> None:
        self.noun = noun
        self.words = Words(words)
        self.columns = columns or "\t".join(_heads(noun))
        self._row = _Row(noun, self.columns.split("\t"), self.words, "\t")

    def encode(self, row: NounT) -> str:
        """The line of `row`, without its end."""
        return self._row.encode(row)

    def decode(self, line: str) -> NounT:
        """The row of a line that was checked."""
        made: NounT = self._row.decode(line)
        return made

    def checker(self) -> Callable[[str], None]:
        """A function that raises BadLine for lines, each with its end, that are no rows."""
        line = re.compile(self._row.pattern)
        lines = re.compile(f"(?:{self._row.pattern}\n)+")

        def check(block: str) -> None:
            if lines.fullmatch(block):
                return
            for number, text in enumerate(block.split("\n")):
                if not line.fullmatch(text):
                    raise BadLine(number, self._row.complaint(text))
            raise BadLine(block.count("\n"), "the last line has no end")

        return check


class _Row:
    """A noun as cells with `separator` between them."""

    def __init__(
        self, noun: type[Noun], heads: Sequence[str], words: Words, separator: str
    ) -> None:
        self._noun = noun
        self._separator = separator
        names = {camel(name): name for name in noun.model_fields}
        self.cells: dict[str, _Cell] = {}
        for head in heads:
            key, _, inner = head.partition("(")
            if key not in names or names[key] in self.cells:
                raise ValueError(f"{noun.__name__} has no column {head[:80]!r}, or it is twice")
            name = names[key]
            field = noun.model_fields[name]
            cell = _cell(name, field, inner, words)
            # One way to be empty, not two: else what fits nothing is tried in all ways together.
            if not field.is_required() and not re.fullmatch(cell.pattern, ""):
                cell = cell._replace(pattern=f"(?:{cell.pattern})?")
            self.cells[name] = cell
        rest = {n: f for n, f in noun.model_fields.items() if n not in self.cells}
        if lacking := [camel(name) for name, field in rest.items() if field.is_required()]:
            raise ValueError(f"the columns of {noun.__name__} lack {', '.join(lacking)}")
        self._absent = {name: field.default for name, field in rest.items()}
        columns = [(name, _empty(noun.model_fields[name]), c) for name, c in self.cells.items()]
        self._encoders = [(name, empty, cell.encode) for name, empty, cell in columns]
        self._decoders = [(name, empty, cell.decode) for name, empty, cell in columns]
        self.pattern = re.escape(separator).join(cell.pattern for cell in self.cells.values())

    def encode(self, row: Noun) -> str:
        values = row.__dict__
        return self._separator.join(
            [
                "" if (value := values[name]) == empty else encode(value) or "\\;"
                for name, empty, encode in self._encoders
            ]
        )

    def decode(self, text: str) -> Any:
        values = {
            name: decode(cell) if cell else empty
            for (name, empty, decode), cell in zip(
                self._decoders, text.split(self._separator), strict=True
            )
        }
        values.update(self._absent)
        return make_unchecked(self._noun, values)  # they were checked as text

    def complaint(self, text: str) -> str:
        """What is wrong with a line."""
        cells = text.split(self._separator)
        if len(cells) != len(self.cells):
            return f"{len(cells)} cells where {len(self.cells)} columns are"
        for cell, (name, column) in zip(cells, self.cells.items(), strict=True):
            if not re.fullmatch(column.pattern, cell):
                return f"{cell[:80]!r} is no {camel(name)} of {self._noun.__name__}"
        return "no row"


def camel(name: str) -> str:
    """``block_size`` as ``blockSize``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _heads(noun: type[Noun]) -> list[str]:
    """The columns of all fields."""
    heads = []
    for name, field in noun.model_fields.items():
        inner = _noun_in(field.annotation)
        heads.append(camel(name) + (f"({'|'.join(_heads(inner))})" if inner else ""))
    return heads


def _noun_in(annotation: Any) -> type[Noun] | None:
    """The noun that a list has as members."""
    member = get_args(annotation)[0] if get_origin(annotation) is tuple else None
    return member if isinstance(member, type) and issubclass(member, Noun) else None


def _cell(name: str, field: FieldInfo, inner: str, words: Words) -> _Cell:
    annotation: Any = field.annotation
    if noun := _noun_in(annotation):
        row = _Row(noun, inner.removesuffix(")").split("|"), words, "|")
        return _list_cell(_Cell(row.encode, row.decode, row.pattern))
    if inner:
        raise ValueError(f"column {camel(name)} has no columns of its own")
    if field.metadata:
        annotation = Annotated[(annotation, *field.metadata)]
    if get_origin(annotation) is tuple:
        return _list_cell(_scalar_cell(name, get_args(annotation)[0], words))
    return _scalar_cell(name, annotation, words)


def _scalar_cell(name: str, annotation: Any, words: Words) -> _Cell:
    base = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if base is bool:
        return _Cell(lambda value: str(value).lower(), "true".__eq__, "(?:true|false)")
    if base is int:
        return _Cell(str, int, _numbers_between(*limits(annotation)))
    if get_origin(base) is Literal:
        words_longest_first = sorted(map(re.escape, get_args(base)), key=len, reverse=True)
        return _Cell(str, str, f"(?:{'|'.join(words_longest_first)})")
    if name in _OWN:
        return _Cell(escape, words.decode, words.pattern)
    return _Cell(words.encode, words.decode, words.pattern)


def _list_cell(member: _Cell) -> _Cell:
    encode_one, decode_one, pattern = member

    def decode(cell: str) -> tuple[Any, ...]:
        return tuple(map(decode_one, cell[:-1].split(",")))

    decode_short = lru_cache(1024)(decode)  # the same few lists stand in most rows
    return _Cell(
        lambda values: "".join([encode_one(value) + "," for value in values]),
        lambda cell: decode_short(cell) if len(cell) < _SHORT else decode(cell),
        f"(?:{pattern},)*",
    )


def _empty(field: FieldInfo) -> Any:
    """What an empty cell stands for; where it can stand for nothing, what no value is equal to."""
    if not field.is_required():
        return field.default
    return {tuple: (), None: ""}.get(get_origin(field.annotation), ...)


# --- texts and numbers ---------------------------------------------------------------------------


def escape(text: str) -> str:
    """`text` as a cell that is no word."""
    if _SPECIAL.search(text):
        return _SPECIAL.sub(lambda found: f"\\{ord(found[0]):x};", text)
    return text


def unescape(cell: str) -> str:
    """The text of such a cell."""
    if "\\" in cell:
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else "", cell)
    return cell


def limits(annotation: Any) -> tuple[int, int]:
    """The least and the largest whole number of a type; those of Java's long, if it says none."""
    lowest, highest = -(2**63), 2**63 - 1
    for metadata in get_args(annotation)[1:]:
        for limit in getattr(metadata, "metadata", [metadata]):
            if isinstance(limit, Ge):
                lowest = int(str(limit.ge))
            elif isinstance(limit, Le):
                highest = int(str(limit.le))
            elif isinstance(limit, Lt):
                highest = int(str(limit.lt)) - 1
    return lowest, highest


def _numbers_between(lowest: int, highest: int) -> str:
    """A pattern of the whole numbers from `lowest`, at most 0, to `highest`."""
    if lowest == 0:
        return f"(?:{numbers_up_to(highest)})"
    return f"(?:{numbers_up_to(highest)}|-(?!0)(?:{numbers_up_to(-lowest)}))"


def numbers_up_to(highest: int) -> str:
    """A pattern of the decimal numbers from 0 to `highest`, alternatives without a group."""
    digits = str(highest)
    shorter = len(digits) - 2
    # First what is shorter, and nothing of what is longer: patterns around it do not come back.
    parts = [f"[1-9][0-9]{{0,{shorter}}}+(?![0-9])"] if shorter >= 0 else []
    parts += ["0(?![0-9])"] if highest else []
    for place, digit in enumerate(digits):  # as long as `highest`, and less at this place
        least = 1 if place == 0 else 0
        if int(digit) > least:
            rest = len(digits) - place - 1
            parts.append(f"{digits[:place]}[{least}-{int(digit) - 1}][0-9]{{{rest}}}")
    return "|".join([*parts, digits])
