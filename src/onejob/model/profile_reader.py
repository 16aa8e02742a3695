"""A profile from a stream of elements; lists of facts are packed as they come.

So the memory for a file is about its size, and no bean is kept longer than its list needs.
"""

from collections.abc import Callable, Iterable
from typing import Any

from onejob.model.errors import InputError
from onejob.model.lines import camel
from onejob.model.noun import Noun
from onejob.model.profile import Profile
from onejob.model.profile_beans import MAX_MEMBERS, Beans, is_null
from onejob.model.profile_elements import Element, Frame, Refusals, read_elements
from onejob.model.profile_grammar import TABLE_CLASS, has_tables, member_of, noun_of
from onejob.model.profile_table import Table
from onejob.model.rows import Packer, Rows

_PENDING_ROWS = 500
_PENDING_CHARACTERS = 128 * 1024


def read_profile(chunks: Iterable[bytes], name: str) -> Profile:
    """The profile in `chunks` of XML; `name` stands for the file in messages."""
    refusals = Refusals(name)
    document = _Document(Beans(refusals))
    read_elements(chunks, refusals, document)
    return document.java.profile


class _Document:
    """What holds the root."""

    def __init__(self, beans: Beans) -> None:
        self._beans = beans

    def begin(self, child: Element) -> Frame:
        if child.tag != "java":
            raise self._beans.refuse(child, f"the document is <{child.tag}>, not <java>")
        self._beans.allow_attributes(child, "version", "class")
        self.java = _Java(self._beans, child)
        return self.java

    def end(self, child: Element) -> None:
        """There is no child that is no Frame."""

    def close(self) -> None:
        """It never is."""


class _Java:
    """The root, <java>."""

    def __init__(self, beans: Beans, element: Element) -> None:
        self._beans = beans
        self._element = element
        self._object: _ProfileObject | None = None

    def begin(self, child: Element) -> Frame:
        if self._object is not None:
            raise self._not_one()
        self._beans.check_bean(child, Profile)
        self._object = _ProfileObject(self._beans, child)
        return self._object

    def end(self, child: Element) -> None:
        """There is no child that is no Frame."""

    def close(self) -> None:
        if self._object is None:
            raise self._not_one()

    def _not_one(self) -> InputError:
        why = '<java> must hold exactly one <object class="Profile">'
        return self._beans.refuse(self._element, why)

    @property
    def profile(self) -> Profile:
        assert self._object is not None  # else it was refused
        return self._object.profile


class _ProfileObject:
    """The profile; its lists of facts are Frames."""

    def __init__(self, beans: Beans, element: Element) -> None:
        self._beans = beans
        self._element = element
        self._fields = {
            camel(name): (name, f.annotation) for name, f in Profile.model_fields.items()
        }
        self._found: dict[str, Any] = {}
        self._lines: dict[str, Element] = {}

    def begin(self, child: Element) -> Frame | None:
        key = self._beans.check_property(child, self._fields, self._lines, "Profile")
        self._lines[key] = child
        name, annotation = self._fields[key]
        member = noun_of(member_of(annotation))
        if member is None:
            return None

        def keep(value: Any) -> None:
            self._found[name] = value

        return _Property(self._beans, child, member, has_tables(name, annotation), keep)

    def end(self, child: Element) -> None:
        name, annotation = self._fields[child.get("property")]
        if not is_null(child):
            self._found[name] = self._beans.property(child, annotation)

    def close(self) -> None:
        self.profile = self._beans.validated(Profile, self._found, self._element, self._lines)


class _Members:
    """The members of a list of facts, few as a tuple, many as Rows."""

    def __init__(self, beans: Beans, noun: type[Noun]) -> None:
        self._beans = beans
        self._noun = noun
        self._pending: list[Noun] = []
        self._characters = 0
        self._packer: Packer[Noun] | None = None
        self.count = 0

    def add(self, void: Element) -> None:
        if self.count == MAX_MEMBERS:
            raise self._beans.refuse(void, f"more than {MAX_MEMBERS} members")
        self._beans.check_member(void, self.count)
        value = self._beans.only_child(void, "a list member")
        self._pending.append(self._beans.bean(value, self._noun))
        self._characters += sum(len(part.text) for part in void.all())
        self.count += 1
        if len(self._pending) == _PENDING_ROWS or self._characters > _PENDING_CHARACTERS:
            self._pack()

    def _pack(self) -> None:
        self._packer = self._packer or Packer(self._noun)
        for row in self._pending:
            self._packer.add(row)
        self._pending, self._characters = [], 0

    def facts(self) -> Rows[Noun] | tuple[Noun, ...]:
        if self._packer is None:
            return tuple(self._pending)
        self._pack()
        return self._packer.rows()


class _Property:
    """A list of facts: members by index, or one of a list, a table, <null/>."""

    def __init__(
        self,
        beans: Beans,
        element: Element,
        noun: type[Noun],
        may_be_table: bool,
        keep: Callable[[Any], None],
    ) -> None:
        self._beans = beans
        self._element = element
        self._noun = noun
        self._may_be_table = may_be_table
        self._keep = keep
        self._members: _Members | None = None
        self._value: _List | Table | Element | None = None

    def begin(self, child: Element) -> Frame | None:
        if self._value is not None or (self._members and child.tag != "void"):
            raise self._beans.refuse(self._element, "a property holds exactly one value")
        if child.tag == "void":
            self._members = self._members or _Members(self._beans, self._noun)
        elif child.tag == "null":
            self._value = child
        elif child.get("class") == TABLE_CLASS and self._may_be_table:
            self._value = Table(self._beans, child, self._noun)
            return self._value
        else:
            self._value = _List(self._beans, child, self._noun)
            return self._value
        return None

    def end(self, child: Element) -> None:
        if self._members:
            self._members.add(child)
        elif len(child) or child.attrib:
            raise self._beans.refuse(child, "<null> takes no attributes and no elements")

    def close(self) -> None:
        if isinstance(self._value, _List | Table):
            self._keep(self._value.facts())
        elif self._members:
            self._keep(self._members.facts())


class _List:
    """An array or a java.util list of facts."""

    def __init__(self, beans: Beans, element: Element, noun: type[Noun]) -> None:
        self._beans = beans
        self._element = element
        self._length = beans.list_length(element, noun)
        self._members = _Members(beans, noun)

    def begin(self, child: Element) -> None:
        return None

    def end(self, child: Element) -> None:
        self._members.add(child)

    def close(self) -> None:
        self._beans.check_length(self._element, self._length, self._members.count)

    def facts(self) -> Rows[Noun] | tuple[Noun, ...]:
        return self._members.facts()
