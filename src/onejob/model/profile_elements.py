"""XML as a stream of elements, from an allow-list, in bounded memory; nothing else is understood.

A Frame is an element that stays open: its children are handed to it one by one, whole, and are then
forgotten. Refused, each with its line, are: other elements and attributes than the profile's,
DOCTYPE, entities, processing instructions, text where none belongs, other encodings than UTF-8, and
what is beyond the limits.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol
from xml.parsers import expat

from onejob.model.errors import InputError
from onejob.model.profile_grammar import NUMBERS

MAX_DEPTH = 24
MAX_ELEMENTS = 100_000  # in one child of a Frame
MAX_CHARACTERS = 2 * 1024 * 1024  # of text in one child of a Frame
MAX_TAG_BYTES = 1024 * 1024
_TEXTS = {"string", "boolean", *NUMBERS}
_TAGS = {"java", "object", "void", "array", "char", "null", *_TEXTS}
_ATTRIBUTES = {
    "version", "class", "id", "idref", "property", "method", "index", "length", "code",
}  # fmt: skip
_MAX_ATTRIBUTES = 2
_MAX_ATTRIBUTE = 1000  # characters
_SPACE = " \t\r\n"


class Element:
    """A whole element. `text` has the characters of its <char> children in their places."""

    __slots__ = ("attrib", "children", "line", "tag", "text")

    def __init__(self, tag: str, attrib: dict[str, str], line: int) -> None:
        self.tag = tag
        self.attrib = attrib
        self.line = line
        self.children: list[Element] = []
        self.text = ""

    def __iter__(self) -> Iterator["Element"]:
        return iter(self.children)

    def __len__(self) -> int:
        return len(self.children)

    def get(self, name: str, default: str = "") -> str:
        """The attribute `name`."""
        return self.attrib.get(name, default)

    def all(self) -> Iterator["Element"]:
        """It, and all elements in it."""
        yield self
        for child in self.children:
            yield from child.all()


class Frame(Protocol):
    """An element whose children come one by one."""

    def begin(self, child: Element) -> "Frame | None":
        """`child` begins, with its attributes: the Frame that it is, or None for a whole one."""

    def end(self, child: Element) -> None:
        """A whole child."""

    def close(self) -> None:
        """That was all."""


class Refusals:
    """Makes the errors of one file."""

    def __init__(self, name: str) -> None:
        self.name = name

    def at(self, element: Element, why: str) -> InputError:
        """That `why` is so of `element`."""
        return InputError(f"{self.name}:{element.line}: {why}")


def read_elements(chunks: Iterable[bytes], refusals: Refusals, document: Frame) -> None:
    """Hand the one root element in `chunks` of XML to `document`."""
    stream = _Stream(refusals, document)
    try:
        for chunk in chunks:
            stream.feed(chunk)
        stream.feed(b"", final=True)
    except expat.ExpatError as error:
        words = expat.ErrorString(error.code)
        hint = "take the profile again with: onejob profile"
        raise InputError(
            f"{refusals.name}:{error.lineno}: not well-formed XML: {words}", hint
        ) from error


class _Stream:
    """The handlers of expat, and what is open."""

    def __init__(self, refusals: Refusals, document: Frame) -> None:
        self._refusals = refusals
        self._frames: list[tuple[Frame, Element]] = [(document, Element("", {}, 1))]
        self._open: list[Element] = []
        self._elements = self._characters = 0
        self._text: list[str] = []
        self._fed = 0
        # The encoding is so whatever the XML declaration says: no other could have been checked.
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.buffer_size = 64 * 1024
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters_come
        parser.StartDoctypeDeclHandler = self._doctype
        parser.ProcessingInstructionHandler = self._instruction

    def feed(self, chunk: bytes, *, final: bool = False) -> None:
        """The next bytes. What begins in them and does not end is kept by expat: not for long."""
        self._parser.Parse(chunk, final)
        self._fed += len(chunk)
        if self._fed - self._parser.CurrentByteIndex > MAX_TAG_BYTES + len(chunk):
            raise self._refuse(f"a tag or comment of more than {MAX_TAG_BYTES} bytes")

    def _refuse(self, why: str) -> InputError:
        return self._refusals.at(Element("", {}, self._parser.CurrentLineNumber), why)

    def _doctype(self, *_: object) -> None:
        raise self._refuse("a DOCTYPE or entity declaration is refused")

    def _instruction(self, *_: object) -> None:
        raise self._refuse("processing instructions are refused")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes, self._parser.CurrentLineNumber)
        self._allow(element)
        if self._open:
            self._add(element)
            return
        frame = self._frames[-1][0].begin(element)
        if frame is not None:
            self._frames.append((frame, element))
        else:
            self._open.append(element)
            self._elements = self._characters = 0
            self._text = []

    def _allow(self, element: Element) -> None:
        if element.tag not in _TAGS:
            raise self._refusals.at(element, f"<{element.tag[:40]}> is no element of a profile")
        for name, value in element.attrib.items():
            if name not in _ATTRIBUTES or len(element.attrib) > _MAX_ATTRIBUTES:
                why = f"<{element.tag}> takes no attribute {name[:40]!r}"
                raise self._refusals.at(element, why)
            if len(value) > _MAX_ATTRIBUTE:
                why = f"attribute {name!r} of more than {_MAX_ATTRIBUTE} characters"
                raise self._refusals.at(element, why)
        if len(self._frames) + len(self._open) > MAX_DEPTH:
            raise self._refusals.at(element, f"nested deeper than {MAX_DEPTH}")

    def _add(self, element: Element) -> None:
        parent = self._open[-1]
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise self._refusals.at(element, f"more than {MAX_ELEMENTS} elements in one")
        self._open.append(element)
        if element.tag == "char" and parent.tag == "string":
            self._text.append(self._character(element))
        elif parent.tag in _TEXTS:
            raise self._refusals.at(element, f"<{element.tag}> in <{parent.tag}>")
        else:
            parent.children.append(element)
            self._text = []

    def _character(self, element: Element) -> str:
        code = element.get("code")
        digits = code[1:]
        if not (code[:1] == "#" and 0 < len(digits) <= 6 and set(digits) <= _HEXADECIMAL):
            raise self._refusals.at(element, f"<char> in a string with the code {code[:40]!r}")
        number = int(digits, 16)
        if number > 0x10FFFF:
            raise self._refusals.at(element, f"no character {code}")
        return chr(number)

    def _end(self, tag: str) -> None:
        if not self._open:
            self._frames.pop()[0].close()
            return
        element = self._open.pop()
        if tag in _TEXTS:
            element.text = "".join(self._text)
        if not self._open:
            self._frames[-1][0].end(element)

    def _characters_come(self, text: str) -> None:
        element = self._open[-1] if self._open else self._frames[-1][1]
        if element.tag in _TEXTS:
            self._characters += len(text)
            if self._characters > MAX_CHARACTERS:
                why = f"a text of more than {MAX_CHARACTERS} characters"
                raise self._refusals.at(element, why)
            self._text.append(text)
        elif text := text.strip(_SPACE):
            raise self._refusals.at(element, f"text {text[:40]!r} in <{element.tag}>")


_HEXADECIMAL = set("0123456789abcdefABCDEF")
