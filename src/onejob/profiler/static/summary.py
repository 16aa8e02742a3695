"""What static completion needs to know of one object; found once, then kept by its hash.

The kept form is checked like any foreign file when it is read back; one that does not fit, or is of
another object, is made again.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from onejob.base.files import write_atomically
from onejob.base.natives import cache_path
from onejob.model.errors import InputError, LacksError
from onejob.model.jsonfile import load_json, to_json
from onejob.model.noun import Noun
from onejob.profiler.static.elf_image import ElfImage, NotElf, read_elf
from onejob.profiler.static.graph import build_graph
from onejob.profiler.static.sites import GENERIC, Code, Sites, find_sites

_FORMAT = 4  # raised when the analysis finds other things
_LOADERS = {"dlopen", "dlmopen", "__libc_dlopen_mode"}
_LIBRARY = re.compile(rb"(?<![^\0])(/?[A-Za-z0-9_][\w./+-]{0,250}\.so(?:\.[0-9]+)*)\0")
Number = Annotated[int, Field(ge=0, lt=2**64)]
CallNumber = Annotated[int, Field(ge=0, lt=1024)]


class FoundCall(Noun):
    """The first place of the object's code that makes a call."""

    number: CallNumber
    address: Number
    how: str


class FunctionReach(Noun):
    """A function of the C library: its own calls, and the functions that it may go to."""

    calls: tuple[CallNumber, ...] = ()
    edges: tuple[Number, ...] = ()


class ObjectSummary(Noun):
    """An object's own calls, imports and names; for the C library also each function's.

    `cuts` say what of its code was left.
    """

    format: Literal[1] = 1
    sha256: str
    note: str = ""
    cuts: tuple[str, ...] = ()
    calls: tuple[FoundCall, ...] = ()
    unknown: Number = 0
    imports: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    exports: dict[str, tuple[Number, ...]] = Field(default_factory=dict)
    functions: tuple[FunctionReach, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Whatever is referred to is there."""
        named = [number for numbers in self.exports.values() for number in numbers]
        named += [number for function in self.functions for number in function.edges]
        if named and max(named) >= len(self.functions):
            raise ValueError(f"function {max(named)} is not in it")
        return self


def summarize(path: str, sha256: str) -> ObjectSummary:
    """The summary of the object at `path`, whose content has the hash `sha256`."""
    kept = cache_path() / "static" / f"{sha256}.{_FORMAT}.json"
    with suppress(InputError):
        summary = load_json(kept, ObjectSummary, "kept summary")
        if summary.sha256 == sha256:
            return summary
    summary = examine(path, sha256)
    with suppress(LacksError, OSError):  # without a cache it is only slower
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, to_json(summary).encode())
    return summary


def examine(path: str, sha256: str) -> ObjectSummary:
    """The same without the cache; `note` says why where it is no object that can be read."""
    try:
        image = read_elf(path)
        if image.sha256 != sha256:
            raise NotElf("it was changed while it was described")
    except NotElf as error:
        return ObjectSummary(sha256=sha256, note=str(error))
    code = Code(image)
    sites = find_sites(code)
    exports, functions = _functions(code, sites) if GENERIC in image.exports else ({}, ())
    return ObjectSummary(
        sha256=sha256,
        calls=_first_places(sites),
        unknown=len(sites.unknown),
        imports=tuple(sorted(image.imports)),
        libraries=_libraries(image),
        exports=exports,
        functions=functions,
        cuts=code.cuts(),
    )


def _first_places(sites: Sites) -> tuple[FoundCall, ...]:
    found: dict[int, FoundCall] = {}
    for site in sorted(sites.found):
        found.setdefault(
            site.number, FoundCall(number=site.number, address=site.address, how=site.how)
        )
    return tuple(found.values())


def _libraries(image: ElfImage) -> tuple[str, ...]:
    """Constants that name a library, where the object can load one by name."""
    if not _LOADERS & {*image.imports, *image.exports}:
        return ()
    found = {m[1].decode() for data in image.constants for m in _LIBRARY.finditer(data)}
    return tuple(sorted(found))


def _functions(
    code: Code, sites: Sites
) -> tuple[dict[str, tuple[int, ...]], tuple[FunctionReach, ...]]:
    """The C library's graph, with functions by number."""
    graph = build_graph(code, sites)
    numbers = {start: number for number, start in enumerate(graph)}
    functions = tuple(
        FunctionReach(calls=tuple(sorted(node.calls)), edges=_numbered(node.edges, numbers))
        for node in graph.values()
    )
    exports = {
        name: _numbered({code.start_of(address) for address in addresses}, numbers)
        for name, addresses in code.image.exports.items()
        if all(code.image.section_of(address) for address in addresses)
    }
    return exports, functions


def _numbered(starts: Iterable[int], numbers: dict[int, int]) -> tuple[int, ...]:
    return tuple(sorted(numbers[start] for start in starts if start in numbers))
