"""The Profile's file form: the paper's java.beans XML document, read safely.

Written form: ``<java class="java.beans.XMLDecoder"><object class="Profile">`` with one ``<void
property="...">`` for each property that differs from its default; lists as ``<array
class="..." length="N">`` with ``<void index="I">`` members. Also read: the paper's members by index
without an array, and ``java.util.ArrayList`` with ``add`` calls, as a JDK's XMLEncoder writes them;
``id`` and ``idref`` of objects, and ``<null/>`` for a property that was never set.

Reading never loads a class and never calls a method: elements and classes come from an allow-list,
and DOCTYPE, entities and processing instructions are refused, as are sizes, depths and counts
beyond the limits below. Every refusal names the line.
"""

import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from lxml import etree
from pydantic import ValidationError

from onejob.model import profile as nouns
from onejob.model.errors import InputError
from onejob.model.noun import MAX_FILE_BYTES, Noun, describe_invalid, place_text, read_text
from onejob.model.profile import Profile

MAX_DEPTH = 24
MAX_ELEMENTS = 4_000_000
MAX_MEMBERS = 1_000_000

CLASSES: dict[str, type[Noun]] = {
    name: value
    for name, value in vars(nouns).items()
    if isinstance(value, type) and issubclass(value, Noun) and value is not Noun
}
LIST_CLASSES = {"java.util.ArrayList", "java.util.LinkedList", "java.util.Vector"}
NUMBERS = {"int": 32, "long": 64, "short": 16, "byte": 8}  # Java's, with their bits
NounT = TypeVar("NounT", bound=Noun)
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\r")


def write_profile(profile: Profile) -> str:
    """The XML text of `profile`; reading it gives an equal profile."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append('<java version="1.5.0" class="java.beans.XMLDecoder">')
    _write_object(profile, 1, lines.append)
    lines.append("</java>")
    return "\n".join(lines) + "\n"


def load_profile(path: Path) -> Profile:
    """Read the profile at `path`; InputError names file, line and reason of a refusal."""
    return parse_profile(read_text(path, "profile"), str(path))


def parse_profile(text: str, name: str = "profile") -> Profile:
    """The same for text in hand; `name` stands for the file in messages."""
    root = _parse(text, name)
    return _Reader(name).java(root)


# --- writing -------------------------------------------------------------------------------------


def camel(name: str) -> str:
    """``block_size`` as ``blockSize``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _write_object(noun: Noun, depth: int, put: Callable[[str], None]) -> None:
    pad = " " * depth
    put(f'{pad}<object class="{type(noun).__name__}">')
    for name, field in type(noun).model_fields.items():
        value = getattr(noun, name)
        if field.is_required() or value != field.default:
            put(f'{pad} <void property="{camel(name)}">')
            _write_value(value, _element_class(field.annotation), depth + 2, put)
            put(f"{pad} </void>")
    put(f"{pad}</object>")


def _write_value(value: Any, member: str, depth: int, put: Callable[[str], None]) -> None:
    pad = " " * depth
    if isinstance(value, tuple):
        put(f'{pad}<array class="{member}" length="{len(value)}">')
        for index, item in enumerate(value):
            put(f'{pad} <void index="{index}">')
            _write_value(item, "", depth + 2, put)
            put(f"{pad} </void>")
        put(f"{pad}</array>")
    elif isinstance(value, Noun):
        _write_object(value, depth, put)
    elif isinstance(value, bool):
        put(f"{pad}<boolean>{str(value).lower()}</boolean>")
    elif isinstance(value, int):
        kind = "int" if -(2**31) <= value < 2**31 else "long"
        put(f"{pad}<{kind}>{value}</{kind}>")
    else:
        put(f"{pad}<string>{_escape(str(value))}</string>")


def _element_class(annotation: Any) -> str:
    """The Java name of the members of a tuple type."""
    if get_origin(annotation) is not tuple:
        return ""
    member = get_args(annotation)[0]
    if isinstance(member, type) and issubclass(member, Noun):
        return member.__name__
    return "long" if _plain(member) is int else "java.lang.String"


def _escape(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ILLEGAL.sub(lambda m: f'<char code="#{ord(m[0]):x}"/>', text)


# --- reading -------------------------------------------------------------------------------------


def _parse(text: str, name: str) -> Any:
    if declared := re.search("<!(DOCTYPE|ENTITY)", text):
        line = text.count("\n", 0, declared.start()) + 1
        raise InputError(f"{name}:{line}: a DOCTYPE or entity declaration is refused")
    # Before there is a tree: each element costs some hundred bytes, however short it is written.
    if text.count("<") - text.count("</") > MAX_ELEMENTS:
        raise InputError(f"{name}:1: more than {MAX_ELEMENTS} elements")
    parser = etree.XMLParser(
        encoding="utf-8",  # whatever the XML declaration says: no other could have been checked
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
    )
    try:
        return etree.fromstring(text.encode("utf-8", "surrogatepass"), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        line, words = getattr(error, "lineno", None) or 1, getattr(error, "msg", None) or str(error)
        hint = "take the profile again with: onejob profile"
        raise InputError(f"{name}:{line}: not well-formed XML: {words}", hint) from error


class _Reader:
    """Turns allowed elements into nouns, lists, strings, numbers and booleans."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._elements = 0
        # By id, with the size when written out: objects that are whole, so never in a circle.
        self._known: dict[str, tuple[Noun, int]] = {}
        self._referred_to = 0

    def _refuse(self, element: Any, why: str) -> InputError:
        return InputError(f"{self._name}:{element.sourceline}: {why}")

    def _children(self, element: Any, depth: int) -> Iterator[Any]:
        if depth > MAX_DEPTH:
            raise self._refuse(element, f"nested deeper than {MAX_DEPTH}")
        for child in element:
            self._elements += 1
            if self._elements > MAX_ELEMENTS:
                raise self._refuse(child, f"more than {MAX_ELEMENTS} elements")
            if not isinstance(child.tag, str):
                raise self._refuse(child, "processing instructions and entities are refused")
            yield child

    def _allow_attributes(self, element: Any, *names: str) -> None:
        for name in element.attrib:
            if name not in names:
                raise self._refuse(element, f"<{element.tag}> takes no attribute {name!r}")

    def java(self, root: Any) -> Profile:
        if root.tag != "java":
            raise self._refuse(root, f"the document is <{root.tag}>, not <java>")
        self._allow_attributes(root, "version", "class")
        objects = list(self._children(root, 0))
        if len(objects) != 1:
            raise self._refuse(root, '<java> must hold exactly one <object class="Profile">')
        return self._bean(objects[0], Profile, 1)

    def _bean(self, element: Any, noun: type[NounT], depth: int) -> NounT:
        if element.tag == "object" and "idref" in element.attrib:
            return self._referred(element, noun)
        if element.tag != "object" or element.get("class") != noun.__name__:
            raise self._refuse(
                element, f'<{element.tag}> where <object class="{noun.__name__}"> must stand'
            )
        self._allow_attributes(element, "class", "id")
        referred_before = self._referred_to
        fields = {camel(name): (name, f.annotation) for name, f in noun.model_fields.items()}
        found: dict[str, Any] = {}
        lines: dict[str, Any] = {}
        for child in self._children(element, depth):
            key = child.get("property", "")
            if child.tag != "void" or set(child.attrib) != {"property"}:
                raise self._refuse(child, f"<{child.tag}> here must be <void property=...>")
            if key not in fields:
                raise self._refuse(child, f"{noun.__name__} has no property {key!r}")
            name, annotation = fields[key]
            if name in lines:
                raise self._refuse(child, f"property {key!r} given twice")
            lines[name] = child
            if not self._is_null(child):  # which stands for what was never set
                found[name] = self._property(child, annotation, depth + 1)
        try:
            made = noun.model_validate(found, strict=False)  # lists stand for tuples
            return self._remembered(element, made, self._referred_to - referred_before)
        except ValidationError as error:
            place, words = describe_invalid(error)[0]
            where = lines.get(str(place[0]), element)
            raise self._refuse(where, f"{noun.__name__} {place_text(place)}: {words}") from error

    def _remembered(self, element: Any, made: NounT, referred: int) -> NounT:
        """`made`, which later elements may refer to by the id that it has.

        `referred` is the size of what it refers to itself.
        """
        if "id" in element.attrib:
            if element.get("id") in self._known:
                raise self._refuse(element, f"id {element.get('id')!r} given twice")
            size = referred + sum(len(part.tag) + len(part.text or "") for part in element.iter())
            self._known[element.get("id")] = made, size
        return made

    def _referred(self, element: Any, noun: type[NounT]) -> NounT:
        """An object that stands further up, as a JDK writes one that it has written already."""
        self._allow_attributes(element, "idref")
        known, size = self._known.get(element.get("idref"), (None, 0))
        # Read, it is one object; written, it stands there each time.
        self._referred_to += size
        if self._referred_to > MAX_FILE_BYTES:
            raise self._refuse(element, f"references to more than {MAX_FILE_BYTES} bytes")
        if type(known) is not noun or len(element):
            raise self._refuse(
                element, f"no {noun.__name__} further up has the id {element.get('idref')!r}"
            )
        return known

    @staticmethod
    def _is_null(void: Any) -> bool:
        return len(void) == 1 and void[0].tag == "null" and not len(void[0]) and not void[0].attrib

    def _property(self, void: Any, annotation: Any, depth: int) -> Any:
        children = list(self._children(void, depth))
        if get_origin(annotation) is tuple and (not children or children[0].tag == "void"):
            return self._members(void, get_args(annotation)[0], depth)
        if len(children) != 1:
            raise self._refuse(void, "a property holds exactly one value")
        return self._value(children[0], annotation, depth)

    def _value(self, element: Any, annotation: Any, depth: int) -> Any:
        if get_origin(annotation) is tuple:
            return self._list(element, get_args(annotation)[0], depth)
        noun = _noun_of(annotation)
        if noun is not None:
            return self._bean(element, noun, depth + 1)
        return self._scalar(element, annotation, depth)

    def _list(self, element: Any, member: Any, depth: int) -> list[Any]:
        kind = element.get("class", "")
        if element.tag not in ("array", "object"):
            raise self._refuse(element, f"<{element.tag}> where a list must stand")
        if kind not in (LIST_CLASSES if element.tag == "object" else array_classes(member)):
            raise self._refuse(element, f"class {kind!r} is not allowed for this list")
        self._allow_attributes(
            element, *(("class", "length") if element.tag == "array" else ("class",))
        )
        length = element.get("length", "")
        if length and (not re.fullmatch("[0-9]{1,7}", length) or int(length) > MAX_MEMBERS):
            shown = length[:20]
            raise self._refuse(element, f"length {shown!r} is not a number up to {MAX_MEMBERS}")
        values = self._members(element, member, depth + 1)
        if length and len(values) != int(length):
            raise self._refuse(element, f"length {length}, but it holds {len(values)} members")
        return values

    def _members(self, element: Any, member: Any, depth: int) -> list[Any]:
        values: list[Any] = []
        for child in self._children(element, depth):
            if len(values) == MAX_MEMBERS:
                raise self._refuse(child, f"more than {MAX_MEMBERS} members")
            self._check_member(child, len(values))
            inner = list(self._children(child, depth + 1))
            if len(inner) != 1:
                raise self._refuse(child, "a list member holds exactly one value")
            values.append(self._value(inner[0], member, depth + 2))
        return values

    def _check_member(self, child: Any, position: int) -> None:
        if child.tag == "void" and dict(child.attrib) == {"method": "add"}:
            return
        if child.tag == "void" and dict(child.attrib) == {"index": str(position)}:
            return
        raise self._refuse(
            child, f'list member {position} must be <void index="{position}"> or an add'
        )

    def _scalar(self, element: Any, annotation: Any, depth: int) -> Any:
        self._allow_attributes(element)
        kinds = {bool: {"boolean"}, int: set(NUMBERS)}.get(_plain(annotation), {"string"})
        if element.tag not in kinds:
            raise self._refuse(element, f"<{element.tag}> where {_one_of(kinds)} must stand")
        if element.tag == "string":
            return self._string(element, depth)
        text = (element.text or "").strip()
        if len(element):
            raise self._refuse(element, f"<{element.tag}> holds no elements")
        if element.tag == "boolean" and text in ("true", "false"):
            return text == "true"
        if element.tag in NUMBERS and re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text):
            bits = NUMBERS[element.tag]
            if -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
                return int(text)
        raise self._refuse(element, f"{text[:40]!r} is no {element.tag}")

    def _string(self, element: Any, depth: int) -> str:
        text = element.text or ""
        for child in self._children(element, depth):
            code = child.get("code", "")
            if child.tag != "char" or not re.fullmatch(r"#[0-9a-fA-F]{1,6}", code):
                raise self._refuse(child, f"<{child.tag}> in a string")
            number = int(code[1:], 16)
            if number > 0x10FFFF:
                raise self._refuse(child, f"no character {code}")
            text += chr(number) + (child.tail or "")
        return text


def _plain(annotation: Any) -> Any:
    """The type below an Annotated."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _one_of(kinds: set[str]) -> str:
    return " or ".join(f"<{kind}>" for kind in sorted(kinds))


def array_classes(member: Any) -> set[str]:
    """What an array of such members may be called; the boxed form is the JDK's for Integer[]."""
    name = _element_class(tuple[member, ...])
    return {name, "int", "java.lang.Long", "java.lang.Integer"} if name == "long" else {name}


def _noun_of(annotation: Any) -> type[Noun] | None:
    """The Noun that `annotation` (maybe ``| None``) stands for."""
    candidates = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    for candidate in candidates:
        if isinstance(candidate, type) and candidate in CLASSES.values():
            return candidate
    return None
