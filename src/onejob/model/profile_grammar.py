"""The grammar of a profile's XML: what reader, writer and schema have in common."""

import types
from collections.abc import Sequence
from typing import Annotated, Any, get_args, get_origin

from onejob.model import profile as nouns
from onejob.model.noun import Noun

CLASSES: dict[str, type[Noun]] = {
    name: value
    for name, value in vars(nouns).items()
    if isinstance(value, type) and issubclass(value, Noun) and value is not Noun
}
LIST_CLASSES = {"java.util.ArrayList", "java.util.LinkedList", "java.util.Vector"}
NUMBERS = {"int": 32, "long": 64, "short": 16, "byte": 8}  # Java's, with their bits
STRING_CLASS = "java.lang.String"
TABLE_CLASS = "Table"
# A list of as many facts, or more, is written as a table.
TABLE_ROWS = 5000
# The paper's properties are beans, however many: any Java program can read them.
NEVER_TABLES = {"memory_allocations", "system_calls"}


def member_of(annotation: Any) -> Any:
    """The type of the members of a list's type; None for a type that is no list's."""
    return get_args(annotation)[0] if get_origin(annotation) in (tuple, Sequence) else None


def plain(annotation: Any) -> Any:
    """The type below an Annotated."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def noun_of(annotation: Any) -> type[Noun] | None:
    """The Noun that `annotation` (maybe ``| None``) stands for."""
    candidates = get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    for candidate in candidates:
        if isinstance(candidate, type) and candidate in CLASSES.values():
            return candidate
    return None


def class_of(member: Any) -> str:
    """The Java name of the members of a list."""
    if noun := noun_of(member):
        return noun.__name__
    return "long" if plain(member) is int else STRING_CLASS


def array_classes(member: Any) -> set[str]:
    """What an array of such members may be called; the boxed form is the JDK's for Integer[]."""
    name = class_of(member)
    return {name, "int", "java.lang.Long", "java.lang.Integer"} if name == "long" else {name}


def has_tables(name: str, annotation: Any) -> bool:
    """Whether the list `name` of a noun may stand as a table."""
    return get_origin(annotation) is Sequence and name not in NEVER_TABLES
