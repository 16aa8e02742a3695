"""The Profile's file form: the paper's java.beans XML document, written, and read safely.

Written form: ``<java class="java.beans.XMLDecoder"><object class="Profile">`` with one ``<void
property="...">`` for each property that differs from its default; lists as ``<array
class="..." length="N">`` with ``<void index="I">`` members, very long ones of facts as tables
(onejob.model.profile_table). Also read: the paper's members by index without an array, and
``java.util.ArrayList`` with ``add`` calls, as a JDK's XMLEncoder writes them; ``id`` and ``idref``
of objects, and ``<null/>`` for a property that was never set.
"""

import codecs
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from onejob.model.errors import InputError
from onejob.model.lines import camel
from onejob.model.noun import Noun, read_chunks
from onejob.model.profile import Profile
from onejob.model.profile_grammar import TABLE_ROWS, class_of, has_tables, member_of
from onejob.model.profile_reader import read_profile
from onejob.model.profile_table import table_parts
from onejob.model.xmltext import xml_text

MAX_PROFILE_BYTES = 128 * 1024 * 1024
_CHUNK = 64 * 1024


def load_profile(path: Path) -> Profile:
    """Read the profile at `path`; InputError names file, line and reason of a refusal."""
    return read_profile(_utf8(read_chunks(path, "profile", MAX_PROFILE_BYTES), path), str(path))


def load_with_digest(path: Path) -> tuple[Profile, str]:
    """The same, with the SHA-256 of the file."""
    digest = hashlib.sha256()

    def digested() -> Iterator[bytes]:
        for chunk in read_chunks(path, "profile", MAX_PROFILE_BYTES):
            digest.update(chunk)
            yield chunk

    profile = read_profile(_utf8(digested(), path), str(path))
    return profile, digest.hexdigest()


def parse_profile(text: str, name: str = "profile") -> Profile:
    """The same for text in hand; `name` stands for the file in messages."""
    data = text.encode("utf-8", "surrogatepass")
    return read_profile((data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK)), name)


def _utf8(chunks: Iterable[bytes], path: Path) -> Iterator[bytes]:
    """`chunks`, which together are UTF-8; InputError for a byte that is not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = 0
    for chunk in chunks:
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            place = before - waiting + error.start
            raise InputError(f"profile {path}: not UTF-8 at byte {place}") from error
        before += len(chunk)
        yield chunk


def write_profile(profile: Profile) -> str:
    """The XML text of `profile`; reading it gives an equal profile."""
    return "".join(_parts(profile))


def profile_chunks(profile: Profile) -> Iterator[bytes]:
    """The same, for a file, piece by piece."""
    return (part.encode() for part in _parts(profile))


def _parts(profile: Profile) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield '<java version="1.5.0" class="java.beans.XMLDecoder">\n <object class="Profile">\n'
    for name, field in Profile.model_fields.items():
        value = getattr(profile, name)
        if value != field.default:
            yield f'  <void property="{camel(name)}">\n'
            yield from _property_parts(name, value, field.annotation)
            yield "  </void>\n"
    yield " </object>\n</java>\n"


def _property_parts(name: str, value: Any, annotation: Any) -> Iterator[str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        if has_tables(name, annotation) and len(value) >= TABLE_ROWS:
            yield from table_parts(value, 3)
        else:
            yield from _array_parts(value, class_of(member_of(annotation)))
    else:
        yield _lines_of(lambda put: _write_value(value, "", 3, put))


def _array_parts(values: Sequence[Any], member: str) -> Iterator[str]:
    """As _write_value has it, but member by member."""
    yield f'   <array class="{member}" length="{len(values)}">\n'
    for index, item in enumerate(values):
        yield _lines_of(lambda put, i=index, v=item: _write_member(i, v, 3, put))  # type: ignore[misc]
    yield "   </array>\n"


def _lines_of(write: Callable[[Callable[[str], None]], None]) -> str:
    lines: list[str] = []
    write(lines.append)
    return "\n".join([*lines, ""])


def _write_member(index: int, value: Any, depth: int, put: Callable[[str], None]) -> None:
    pad = " " * depth
    put(f'{pad} <void index="{index}">')
    _write_value(value, "", depth + 2, put)
    put(f"{pad} </void>")


def _write_object(noun: Noun, depth: int, put: Callable[[str], None]) -> None:
    pad = " " * depth
    put(f'{pad}<object class="{type(noun).__name__}">')
    for name, field in type(noun).model_fields.items():
        value = getattr(noun, name)
        if field.is_required() or value != field.default:
            put(f'{pad} <void property="{camel(name)}">')
            _write_value(value, class_of(member_of(field.annotation)), depth + 2, put)
            put(f"{pad} </void>")
    put(f"{pad}</object>")


def _write_value(value: Any, member: str, depth: int, put: Callable[[str], None]) -> None:
    pad = " " * depth
    if isinstance(value, tuple):
        put(f'{pad}<array class="{member}" length="{len(value)}">')
        for index, item in enumerate(value):
            _write_member(index, item, depth, put)
        put(f"{pad}</array>")
    elif isinstance(value, Noun):
        _write_object(value, depth, put)
    elif isinstance(value, bool):
        put(f"{pad}<boolean>{str(value).lower()}</boolean>")
    elif isinstance(value, int):
        kind = "int" if -(2**31) <= value < 2**31 else "long"
        put(f"{pad}<{kind}>{value}</{kind}>")
    else:
        put(f"{pad}<string>{xml_text(str(value))}</string>")
