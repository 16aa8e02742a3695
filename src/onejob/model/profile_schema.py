"""The grammar of a profile's XML as a RELAX NG schema, made from the nouns: docs/profile.rng.

What `profile_xml` reads and what this allows is the same, but for what such a schema cannot say:
that a property stands once, and some must stand (RELAX NG does not interleave elements of one
name); that an `idref` refers to an object further up; that `index` counts from 0 and `length` is
the number of members; that a number fits its kind; what the lines of a table hold; the limits on
size, depth and counts.
"""

import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

from lxml import etree

from onejob.model.lines import camel, limits
from onejob.model.noun import Noun
from onejob.model.profile import Profile
from onejob.model.profile_grammar import (
    CLASSES,
    LIST_CLASSES,
    NUMBERS,
    STRING_CLASS,
    TABLE_CLASS,
    array_classes,
    has_tables,
    member_of,
)

NAMESPACE = "http://relaxng.org/ns/structure/1.0"
DATATYPES = "http://www.w3.org/2001/XMLSchema-datatypes"
_PREFIXES: Any = {None: NAMESPACE}
_COMMENT = "The grammar of onejob's profiles, made by onejob.model.profile_schema"


class _Maker:
    """``_make.choice(a, b, name="x")`` is ``<choice name="x">`` with these children."""

    def __getattr__(self, tag: str) -> Callable[..., Any]:
        def make(*content: Any, **attributes: str) -> Any:
            made = etree.Element(f"{{{NAMESPACE}}}{tag}", attributes, _PREFIXES)
            for part in content:
                if isinstance(part, str):
                    made.text = part
                else:
                    made.append(part)
            return made

        return make


_make = _Maker()


def schema_text() -> str:
    """The whole schema as XML."""
    grammar = _make.grammar(
        etree.Comment(f" {_COMMENT} "),
        _make.start(_java()),
        *(_define(name, noun) for name, noun in sorted(CLASSES.items())),
        _make.define(_table(), name=TABLE_CLASS),
        _make.define(_text_value(), name="string"),
        _make.define(_element("null", _make.empty()), name="null"),
        datatypeLibrary=DATATYPES,
    )
    ranges = {ref.get("name") for ref in grammar.iter(f"{{{NAMESPACE}}}ref")}
    for name in sorted(name for name in ranges if name.startswith("number")):
        grammar.append(_make.define(_integer(name), name=name))
    text: bytes = etree.tostring(grammar, pretty_print=True, xml_declaration=True, encoding="UTF-8")
    return text.decode()


def _java() -> Any:
    attributes = [_make.optional(_attribute(name)) for name in ("version", "class")]
    return _element("java", *attributes, _make.ref(name=Profile.__name__))


def _element(name: str, *content: Any) -> Any:
    return _make.element(*content, name=name)


def _attribute(name: str, *content: Any) -> Any:
    return _make.attribute(*content, name=name)


def _choice(*options: Any) -> Any:
    return options[0] if len(options) == 1 else _make.choice(*options)


def _define(name: str, noun: type[Noun]) -> Any:
    """A bean: written out, or a reference to one further up."""
    fields = noun.model_fields.items()
    properties = [_property(key, field) for key, field in fields]
    whole = _element(
        "object",
        _attribute("class", _make.value(name)),
        _make.optional(_attribute("id")),
        _make.zeroOrMore(_choice(*properties)),
    )
    reference = _element("object", _attribute("idref"))
    return _make.define(_make.choice(whole, reference), name=name)


def _property(name: str, field: Any) -> Any:
    annotation = field.annotation
    if field.metadata and not member_of(annotation):
        annotation = Annotated[(annotation, *field.metadata)]
    tables = [_make.ref(name=TABLE_CLASS)] if has_tables(name, field.annotation) else []
    content = _choice(*_values(annotation), *tables, _make.ref(name="null"))
    return _element("void", _attribute("property", _make.value(camel(name))), content)


def _table() -> Any:
    """Three properties: two of strings, one of a string with the columns' names."""
    properties = [
        _element("void", _attribute("property", _make.value(name)), _choice(*_values(kind)))
        for name, kind in (("columns", str), ("words", tuple[str, ...]))
    ]
    rows = _element(
        "array",
        _attribute("class", _make.value(STRING_CLASS)),
        _make.optional(_attribute("length", _make.data(type="nonNegativeInteger"))),
        _make.zeroOrMore(_member(str)),
    )
    rows = _element("void", _attribute("property", _make.value("rows")), rows)
    return _element("object", _attribute("class", _make.value(TABLE_CLASS)), *properties, rows)


def _values(annotation: Any) -> list[Any]:
    """Every form in which a value of this type may stand."""
    if isinstance(annotation, types.UnionType):
        return [v for a in get_args(annotation) if a is not types.NoneType for v in _values(a)]
    if member := member_of(annotation):
        return _list_values(member)
    if isinstance(annotation, type) and issubclass(annotation, Noun):
        return [_make.ref(name=annotation.__name__)]
    if get_origin(annotation) is Literal:
        return [_element("string", _choice(*map(_make.value, get_args(annotation))))]
    base = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if base is bool:
        return [_element("boolean", _choice(_make.value("true"), _make.value("false")))]
    if base is int:
        return [_make.ref(name=_range_name(annotation))]
    return [_make.ref(name="string")]


def _range_name(annotation: Any) -> str:
    """The name of the definition of whole numbers within the limits of `annotation`."""
    lowest, highest = limits(annotation)
    return f"number.{lowest}.{highest}"


def _integer(name: str) -> Any:
    """The definition: any of Java's kinds of whole numbers."""
    _, lowest, highest = name.split(".")
    kinds = _make.choice(*(_make.name(kind) for kind in sorted(NUMBERS)))
    limits = (_make.param(lowest, name="minInclusive"), _make.param(highest, name="maxInclusive"))
    return _make.element(kinds, _make.data(*limits, type="integer"))


def _list_values(member: Any) -> list[Any]:
    """Members set by index in an array that is there, a new array, or a list."""
    members = _make.zeroOrMore(_member(member))
    array = _element(
        "array",
        _attribute("class", _choice(*map(_make.value, sorted(array_classes(member))))),
        _make.optional(_attribute("length", _make.data(type="nonNegativeInteger"))),
        _make.zeroOrMore(_member(member)),
    )
    lists = _element(
        "object",
        _attribute("class", _choice(*map(_make.value, sorted(LIST_CLASSES)))),
        _make.zeroOrMore(_member(member)),
    )
    return [members, array, lists]


def _member(member: Any) -> Any:
    index = _attribute("index", _make.data(type="nonNegativeInteger"))
    add = _attribute("method", _make.value("add"))
    return _element("void", _make.choice(index, add), _choice(*_values(member)))


def _text_value() -> Any:
    """Text in which a character that XML cannot hold stands by its code."""
    code = _attribute(
        "code", _make.data(_make.param("#[0-9a-fA-F]{1,6}", name="pattern"), type="string")
    )
    return _element("string", _make.mixed(_make.zeroOrMore(_element("char", code))))
