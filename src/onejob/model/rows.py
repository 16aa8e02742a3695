"""Rows: a sequence of nouns that is kept as lines of text, as a table in a file has them.

It behaves as the tuple of these nouns does, at about the memory of the text: a noun is made when it
is asked for. For a million facts this is a tenth of what nouns need.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Annotated, Any, Generic, TypeVar, overload

from pydantic import WrapValidator

from onejob.model.lines import Layout
from onejob.model.noun import Noun

BLOCK_ROWS = 1000
BLOCK_CHARACTERS = 256 * 1024  # a block ends when it has as many, however few its rows
NounT = TypeVar("NounT", bound=Noun)


class Rows(Sequence[NounT]):
    """Nouns as `blocks` of lines in `layout`, in UTF-8, which were checked."""

    def __init__(self, layout: Layout[NounT], blocks: Iterable[bytes]) -> None:
        self.layout = layout
        self.blocks = tuple(blocks)
        self._ends = list(accumulate(block.count(b"\n") for block in self.blocks))
        self._split: tuple[int, list[str]] = (-1, [])  # the block that was asked last

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[NounT]:
        for block in self.blocks:
            yield from map(self.layout.decode, block.decode().split("\n")[:-1])

    @overload
    def __getitem__(self, index: int) -> NounT: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[NounT, ...]: ...
    def __getitem__(self, index: int | slice) -> NounT | tuple[NounT, ...]:
        if isinstance(index, slice):
            return tuple(self._row(number) for number in range(*index.indices(len(self))))
        return self._row(range(len(self))[index])

    def _row(self, number: int) -> NounT:
        place = bisect_right(self._ends, number)
        if self._split[0] != place:
            self._split = place, self.blocks[place].decode().split("\n")
        first = self._ends[place - 1] if place else 0
        return self.layout.decode(self._split[1][number - first])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Rows) and self._lines() == other._lines():
            return True
        if not isinstance(other, Rows | tuple) or len(self) != len(other):
            return NotImplemented if not isinstance(other, Rows | tuple) else False
        return all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    def _lines(self) -> tuple[Any, ...]:
        return self.layout.noun, self.layout.columns, self.layout.words.known, self.blocks

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Rows({len(self)} of {self.layout.noun.__name__})"


class Packer(Generic[NounT]):
    """Makes Rows of nouns, one after the other."""

    def __init__(self, noun: type[NounT]) -> None:
        self._layout = Layout(noun)
        self._blocks: list[bytes] = []
        self._lines: list[str] = []
        self._characters = 0

    def add(self, row: NounT) -> None:
        """The next row."""
        line = self._layout.encode(row)
        self._lines.append(line)
        self._characters += len(line)
        if len(self._lines) == BLOCK_ROWS or self._characters >= BLOCK_CHARACTERS:
            self._end_block()

    def _end_block(self) -> None:
        self._blocks.append("\n".join([*self._lines, ""]).encode())
        self._lines, self._characters = [], 0

    def rows(self) -> Rows[NounT]:
        """All that were added."""
        if self._lines:
            self._end_block()
        return Rows(self._layout, self._blocks)


def pack(noun: type[NounT], rows: Iterable[NounT]) -> Rows[NounT]:
    """`rows`, which are of `noun`, as Rows."""
    packer = Packer(noun)
    for row in rows:
        packer.add(row)
    return packer.rows()


def _keep_rows(value: Any, validate: Any) -> Any:
    """Rows were checked when they were made; of anything else a tuple is made, as ever."""
    return value if isinstance(value, Rows) else tuple(validate(value))


# A list of facts in a noun: a tuple, or Rows.
Facts = Annotated[Sequence[NounT], WrapValidator(_keep_rows)]
