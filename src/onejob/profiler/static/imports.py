"""What a source file of Python, Perl or JavaScript imports; found once, then kept by its hash.

Each language brings how its text is read and how a name becomes files; the closure over both, with
its limits, is the same for all.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from onejob.base.files import write_atomically
from onejob.base.natives import cache_path
from onejob.model.errors import InputError, LacksError
from onejob.model.jsonfile import load_json, to_json
from onejob.model.noun import Noun
from onejob.model.profile import Unfollowed
from onejob.profiler.static.names import MAX_TEXT_BYTES, TOO_LONG, Found, Named, View, read_text

_FORMAT = 1  # raised when other imports are found
_MAX_SOURCES = 4000
_SHOWN_LINES = 5
Line = Annotated[int, Field(ge=0)]


class Import(Noun):
    """A name that is imported in a line; without `at_load`, only when a function is called."""

    name: str
    line: Line
    at_load: bool = True


class Imports(Noun):
    """What one source file imports; `computed` are lines where a name is made up at run time."""

    format: Literal[1] = 1
    sha256: str = ""
    imports: tuple[Import, ...] = ()
    computed: tuple[Line, ...] = ()
    note: str = ""


class Language(NamedTuple):
    """How a text is read, and the files that a name leads to from the file which imports it."""

    name: str
    is_source: Callable[[str], bool]
    scan: Callable[[str], Imports]
    resolve: Callable[[str, str], Iterable[str]]


def closure(view: View, language: Language, sources: Iterable[str]) -> Iterator[Found]:
    """All that the observed `sources` import, and what that imports when it is loaded.

    What a file that was only named imports later, in a function, is counted and left.
    """
    todo = deque((path, True) for path in sorted(set(sources)))
    seen = {path for path, _ in todo}
    left = 0
    while todo:
        path, observed = todo.popleft()
        scanned = imports_of(language, path)
        yield from _notes(path, scanned)
        for row in scanned.imports:
            if not (observed or row.at_load):
                left += 1
                continue
            for found in language.resolve(row.name, path):
                yield Named(found, f"{path}:{row.line}: {language.name} import of {row.name}")
                if found not in seen and language.is_source(found) and len(seen) < _MAX_SOURCES:
                    seen.add(found)
                    todo.append((found, False))
    if left:
        why = f"{left} imports in functions of {language.name} modules that nobody was seen to load"
        yield Unfollowed(object=view.program, reason=why)
    if len(seen) >= _MAX_SOURCES:
        why = f"more than {_MAX_SOURCES} {language.name} modules: the rest is left"
        yield Unfollowed(object=view.program, reason=why)


def _notes(path: str, scanned: Imports) -> Iterator[Unfollowed]:
    if scanned.note:
        yield Unfollowed(object=path, reason=scanned.note)
    if scanned.computed:
        shown = ", ".join(str(line) for line in scanned.computed[:_SHOWN_LINES])
        more = ", ..." if len(scanned.computed) > _SHOWN_LINES else ""
        yield Unfollowed(object=path, reason=f"imports a computed name in line {shown}{more}")


def imports_of(language: Language, path: str) -> Imports:
    """The imports of the file at `path`; none where it is no text, or a longer one than is read."""
    with suppress(OSError):
        if os.stat(path).st_size > MAX_TEXT_BYTES:
            return Imports(note=TOO_LONG)
    text = read_text(path)
    return _kept(language, hashlib.sha256(text.encode()).hexdigest(), text) if text else Imports()


def _kept(language: Language, sha256: str, text: str) -> Imports:
    place = cache_path() / "static" / f"{sha256}.{language.name}{_FORMAT}.json"
    known = _read(place)
    if known.sha256 == sha256:
        return known
    scanned = language.scan(text).model_copy(update={"sha256": sha256})
    with suppress(LacksError, OSError):  # without a cache it is only slower
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, to_json(scanned).encode())
        _read.cache_clear()
    return scanned


@cache
def _read(place: Path) -> Imports:
    with suppress(InputError):
        return load_json(place, Imports, "kept imports")
    return Imports()
