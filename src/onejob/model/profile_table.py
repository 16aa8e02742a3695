"""A table: many facts of one kind as text in the file, where beans would be a tenfold of it.

``<object class="Table">`` has the properties `columns` (the head line), `words` (texts that stand
in many rows) and `rows`: strings of many lines each, as onejob.model.lines has them. To Java it is
a bean of strings.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from onejob.model.lines import MAX_WORDS, BadLine, Layout
from onejob.model.noun import Noun
from onejob.model.profile_beans import Beans
from onejob.model.profile_elements import Element, Frame
from onejob.model.profile_grammar import STRING_CLASS, TABLE_CLASS
from onejob.model.rows import BLOCK_CHARACTERS, BLOCK_ROWS, Rows, pack
from onejob.model.xmltext import escape_markup, xml_text

_PROPERTIES = ("columns", "words", "rows")


def table_parts(facts: Sequence[Noun], depth: int) -> Iterator[str]:
    """The XML of a table of `facts`, at least one, in parts; the first is indented by `depth`."""
    rows = facts if isinstance(facts, Rows) else pack(type(facts[0]), facts)
    pad = " " * depth
    columns = xml_text(rows.layout.columns)
    words = rows.layout.words.known
    yield f'{pad}<object class="{TABLE_CLASS}">\n'
    yield f'{pad} <void property="columns">\n{pad}  <string>{columns}</string>\n{pad} </void>\n'
    yield from _strings("words", len(words), map(xml_text, words), pad)
    blocks = (escape_markup(block.decode()) for block in rows.blocks)
    yield from _strings("rows", len(rows.blocks), blocks, pad)
    yield f"{pad}</object>\n"


def _strings(name: str, length: int, texts: Iterable[str], pad: str) -> Iterator[str]:
    yield f'{pad} <void property="{name}">\n'
    yield f'{pad}  <array class="{STRING_CLASS}" length="{length}">\n'
    for index, text in enumerate(texts):
        yield f'{pad}   <void index="{index}">\n{pad}    <string>{text}</string>\n{pad}   </void>\n'
    yield f"{pad}  </array>\n{pad} </void>\n"


class Table:
    """The object of a table of `noun` that is being read."""

    def __init__(self, beans: Beans, element: Element, noun: type[Noun]) -> None:
        if element.tag != "object":
            raise beans.refuse(element, f"<{element.tag}> where a list must stand")
        beans.allow_attributes(element, "class")
        self._beans = beans
        self._element = element
        self._noun = noun
        self._texts: dict[str, Any] = {}
        self._lines: dict[str, Element] = {}
        self._rows: _RowsProperty | None = None

    def begin(self, child: Element) -> Frame | None:
        key = self._beans.check_property(child, _PROPERTIES, self._lines, TABLE_CLASS)
        self._lines[key] = child
        if key != "rows":
            return None
        self._rows = _RowsProperty(self._beans, child, self._layout())
        return self._rows

    def end(self, child: Element) -> None:
        key = child.get("property")
        if self._rows is not None:
            raise self._beans.refuse(child, f"{key} must stand before the rows")
        kind = str if key == "columns" else tuple[str, ...]
        self._texts[key] = self._beans.property(child, kind)
        if len(self._texts.get("words", ())) > MAX_WORDS:
            raise self._beans.refuse(child, f"more than {MAX_WORDS} words")

    def _layout(self) -> Layout[Any]:
        columns = self._texts.get("columns")
        if not columns:
            raise self._beans.refuse(self._element, "a table names its columns before its rows")
        try:
            return Layout(self._noun, columns, self._texts.get("words", ()))
        except ValueError as error:
            raise self._beans.refuse(self._lines["columns"], str(error)) from error

    def close(self) -> None:
        if self._rows is None:
            raise self._beans.refuse(self._element, "a table has rows")

    def facts(self) -> Rows[Any]:
        """What it holds."""
        assert self._rows is not None  # else it was refused
        return self._rows.rows()


class _RowsProperty:
    """<void property="rows"> with its one array."""

    def __init__(self, beans: Beans, element: Element, layout: Layout[Any]) -> None:
        self._beans = beans
        self._element = element
        self._layout = layout
        self._blocks: _Blocks | None = None

    def begin(self, child: Element) -> Frame:
        if self._blocks is not None:
            raise self._beans.refuse(self._element, "a property holds exactly one value")
        self._blocks = _Blocks(self._beans, child, self._layout.checker())
        return self._blocks

    def end(self, child: Element) -> None:
        """There is no child that is no Frame."""

    def close(self) -> None:
        if self._blocks is None:
            raise self._beans.refuse(self._element, "a property holds exactly one value")

    def rows(self) -> Rows[Any]:
        return Rows(self._layout, self._blocks.blocks if self._blocks else ())


class _Blocks:
    """The array of strings that have the lines."""

    def __init__(self, beans: Beans, element: Element, check: Callable[[str], None]) -> None:
        self._beans = beans
        self._element = element
        self._length = beans.list_length(element, str)
        self._check = check
        self._count = 0
        self._pending: list[bytes] = []
        self._rows = self._characters = 0
        self.blocks: list[bytes] = []

    def begin(self, child: Element) -> None:
        return None

    def end(self, child: Element) -> None:
        self._beans.check_member(child, self._count)
        self._count += 1
        string = self._beans.only_child(child, "a list member")
        text: str = self._beans.property(child, str)
        try:
            self._check(text)
        except BadLine as error:
            line = Element(string.tag, {}, string.line + error.number)
            raise self._beans.refuse(line, f"in a table: {error}") from error
        self._pending.append(text.encode())
        self._rows += text.count("\n")
        self._characters += len(text)
        if self._rows >= BLOCK_ROWS or self._characters >= BLOCK_CHARACTERS:
            self._end_block()

    def _end_block(self) -> None:
        """Strings of few rows become one block: else each needs several times its text."""
        self.blocks.append(b"".join(self._pending))
        self._pending, self._rows, self._characters = [], 0, 0

    def close(self) -> None:
        if self._pending:
            self._end_block()
        self._beans.check_length(self._element, self._length, self._count)
