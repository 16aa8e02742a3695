"""Beans: nouns, lists, strings, numbers and booleans from whole elements, by an allow-list.

Nothing here loads a class or calls a method. Every refusal names the line.
"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from onejob.model.lines import camel
from onejob.model.noun import Noun, describe_invalid, place_text
from onejob.model.profile_elements import Element, Refusals
from onejob.model.profile_grammar import (
    LIST_CLASSES,
    NUMBERS,
    array_classes,
    member_of,
    noun_of,
    plain,
)

MAX_MEMBERS = 1_000_000
MAX_REFERRED = 8 * 1024 * 1024  # bytes that references stand for, and bytes of what has an id
_MARKUP = 32  # bytes of an element, about, beside its text
NounT = TypeVar("NounT", bound=Noun)


class Beans:
    """Turns whole elements into nouns, lists, strings, numbers and booleans."""

    def __init__(self, refusals: Refusals) -> None:
        self.refuse = refusals.at
        # By id, with the size when written out: objects that are whole, so never in a circle.
        self._known: dict[str, tuple[Noun, int]] = {}
        self._remembered_bytes = 0
        self._referred_to = 0

    def allow_attributes(self, element: Element, *names: str) -> None:
        for name in element.attrib:
            if name not in names:
                raise self.refuse(element, f"<{element.tag}> takes no attribute {name!r}")

    def check_bean(self, element: Element, noun: type[Noun]) -> None:
        """That `element` begins an object of `noun`."""
        if element.tag != "object" or element.get("class") != noun.__name__:
            raise self.refuse(
                element, f'<{element.tag}> where <object class="{noun.__name__}"> must stand'
            )
        self.allow_attributes(element, "class", "id")

    def check_property(
        self, child: Element, names: Iterable[str], given: Iterable[str], of: str
    ) -> str:
        """The name in a <void property=...>, one of `names` that was not `given` yet."""
        key = child.get("property")
        if child.tag != "void" or set(child.attrib) != {"property"}:
            raise self.refuse(child, f"<{child.tag}> here must be <void property=...>")
        if key not in names:
            raise self.refuse(child, f"{of} has no property {key[:80]!r}")
        if key in given:
            raise self.refuse(child, f"property {key!r} given twice")
        return key

    def bean(self, element: Element, noun: type[NounT]) -> NounT:
        """An object of `noun`, written out or referred to."""
        if element.tag == "object" and "idref" in element.attrib:
            return self._referred(element, noun)
        self.check_bean(element, noun)
        referred_before = self._referred_to
        fields = {camel(name): (name, f.annotation) for name, f in noun.model_fields.items()}
        found: dict[str, Any] = {}
        lines: dict[str, Element] = {}
        for child in element:
            key = self.check_property(child, fields, lines, noun.__name__)
            name, annotation = fields[key]
            lines[key] = child
            if not is_null(child):  # which stands for what was never set
                found[name] = self.property(child, annotation)
        made = self.validated(noun, found, element, lines)
        return self._remembered(element, made, self._referred_to - referred_before)

    def validated(
        self, noun: type[NounT], found: dict[str, Any], element: Element, lines: dict[str, Element]
    ) -> NounT:
        """`noun` of what was `found`; a refusal names the line of the property."""
        try:
            return noun.model_validate(found, strict=False)  # lists stand for tuples
        except ValidationError as error:
            place, words = describe_invalid(error)[0]
            where = lines.get(camel(str(place[0])), element) if place else element
            raise self.refuse(where, f"{noun.__name__} {place_text(place)}: {words}") from error

    def _remembered(self, element: Element, made: NounT, referred: int) -> NounT:
        """`made`, which later elements may refer to by the id that it has.

        `referred` is the size of what it refers to itself.
        """
        if "id" in element.attrib:
            if element.get("id") in self._known:
                raise self.refuse(element, f"id {element.get('id')!r} given twice")
            size = referred + sum(_MARKUP + len(part.text) for part in element.all())
            self._remembered_bytes += size
            if self._remembered_bytes > MAX_REFERRED:
                raise self.refuse(element, f"ids of more than {MAX_REFERRED} bytes")
            self._known[element.get("id")] = made, size
        return made

    def _referred(self, element: Element, noun: type[NounT]) -> NounT:
        """An object that stands further up, as a JDK writes one that it has written already."""
        self.allow_attributes(element, "idref")
        known, size = self._known.get(element.get("idref"), (None, 0))
        # Read, it is one object; written, it stands there each time.
        self._referred_to += size
        if self._referred_to > MAX_REFERRED:
            raise self.refuse(element, f"references to more than {MAX_REFERRED} bytes")
        if type(known) is not noun or len(element):
            raise self.refuse(
                element, f"no {noun.__name__} further up has the id {element.get('idref')!r}"
            )
        return known

    def property(self, void: Element, annotation: Any) -> Any:
        """The value in a <void property=...>."""
        member = member_of(annotation)
        if member is not None and (not len(void) or void.children[0].tag == "void"):
            return self.members(void, member)
        return self._value(self.only_child(void, "a property"), annotation)

    def only_child(self, void: Element, what: str) -> Element:
        """The one element in `void`."""
        if len(void) != 1:
            raise self.refuse(void, f"{what} holds exactly one value")
        return void.children[0]

    def _value(self, element: Element, annotation: Any) -> Any:
        member = member_of(annotation)
        if member is not None:
            length = self.list_length(element, member)
            values = self.members(element, member)
            self.check_length(element, length, len(values))
            return values
        noun = noun_of(annotation)
        return self._scalar(element, annotation) if noun is None else self.bean(element, noun)

    def list_length(self, element: Element, member: Any) -> int | None:
        """The length that a list says it has, if it does; its class is one for `member`."""
        kind = element.get("class")
        if element.tag not in ("array", "object"):
            raise self.refuse(element, f"<{element.tag}> where a list must stand")
        if kind not in (LIST_CLASSES if element.tag == "object" else array_classes(member)):
            raise self.refuse(element, f"class {kind[:80]!r} is not allowed for this list")
        self.allow_attributes(
            element, *(("class", "length") if element.tag == "array" else ("class",))
        )
        length = element.get("length")
        if length and (not re.fullmatch("[0-9]{1,7}", length) or int(length) > MAX_MEMBERS):
            shown = length[:20]
            raise self.refuse(element, f"length {shown!r} is not a number up to {MAX_MEMBERS}")
        return int(length) if length else None

    def check_length(self, element: Element, length: int | None, found: int) -> None:
        """That a list has as many members as it says."""
        if length is not None and found != length:
            raise self.refuse(element, f"length {length}, but it holds {found} members")

    def members(self, element: Element, member: Any) -> list[Any]:
        """The values of the members of a whole list."""
        values: list[Any] = []
        for child in element:
            self.check_member(child, len(values))
            values.append(self._value(self.only_child(child, "a list member"), member))
        return values

    def check_member(self, child: Element, position: int) -> None:
        """That `child` is the void of the list's next member."""
        if child.tag == "void" and (
            child.attrib == {"method": "add"} or child.attrib == {"index": str(position)}
        ):
            return
        raise self.refuse(
            child, f'list member {position} must be <void index="{position}"> or an add'
        )

    def _scalar(self, element: Element, annotation: Any) -> Any:
        self.allow_attributes(element)
        kinds = {bool: {"boolean"}, int: set(NUMBERS)}.get(plain(annotation), {"string"})
        if element.tag not in kinds:
            raise self.refuse(element, f"<{element.tag}> where {_one_of(kinds)} must stand")
        if element.tag == "string":
            return element.text
        text = element.text.strip()
        if element.tag == "boolean" and text in ("true", "false"):
            return text == "true"
        if element.tag in NUMBERS and re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text):
            bits = NUMBERS[element.tag]
            if -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
                return int(text)
        raise self.refuse(element, f"{text[:40]!r} is no {element.tag}")


def is_null(void: Element) -> bool:
    """Whether it holds a <null/> and nothing else."""
    return (
        len(void) == 1
        and void.children[0].tag == "null"
        and not len(void.children[0])
        and not void.children[0].attrib
    )


def _one_of(kinds: set[str]) -> str:
    return " or ".join(f"<{kind}>" for kind in sorted(kinds))
