"""Which functions of a library reach which: followed from an exported function to its calls.

Edges are direct calls and jumps, addresses of functions that the code takes, and the functions in
a table whose address it takes (such as the ones by which stdio reads and writes).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from onejob.profiler.static.sites import MAX_CHAIN, MAX_TABLE, Code, Sites
from onejob.profiler.static.trace import Instruction


class Node(NamedTuple):
    """A function: the calls that it makes itself, and the functions that it may go to."""

    start: int
    calls: frozenset[int]
    edges: frozenset[int]


def build_graph(code: Code, sites: Sites) -> dict[int, Node]:
    """Every function of the object, by where it begins."""
    tables = _Tables(code)
    rows = {start: code.instructions(start) for start in code.starts}
    referred = {slot for row in rows.values() for slot in _slots(row)}
    tables.limits = sorted({*referred, *code.image.data_symbols})
    calls: defaultdict[int, set[int]] = defaultdict(set)
    for site in sites.found:
        calls[site.function].add(site.number)
    return {
        start: Node(start, frozenset(calls[start]), frozenset(_edges(code, tables, start, row)))
        for start, row in rows.items()
    }


def _slots(rows: list[Instruction]) -> Iterator[int]:
    for row in rows:
        if "[rip" in row.operands and (slot := row.slot) is not None:
            yield slot


def _edges(code: Code, tables: "_Tables", start: int, rows: list[Instruction]) -> Iterator[int]:
    for row in rows:
        target = row.target
        if target is None and "[rip" in row.operands and (slot := row.slot) is not None:
            yield from tables.functions(slot)
        elif target is not None and code.image.section_of(target):
            begin = code.start_of(target)
            if begin != start:
                yield begin


class _Tables:
    """Functions at, or in the data at, an address that code refers to."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._places = sorted(code.image.pointers)
        self._known: dict[int, frozenset[int]] = {}
        self.limits: list[int] = []  # where data that is referred to begins; sorted

    def functions(self, address: int, depth: int = 0) -> frozenset[int]:
        """The beginnings of functions that `address` is, or leads to."""
        if address not in self._known or depth:
            if self._code.image.section_of(address):
                return self._function_at(address)
            found = frozenset(self._in_table(address, depth))
            if depth:
                return found
            self._known[address] = found
        return self._known[address]

    def _function_at(self, address: int) -> frozenset[int]:
        begins = self._code.start_of(address)
        return frozenset({begins}) if begins == address else frozenset()

    def _in_table(self, address: int, depth: int) -> Iterator[int]:
        first = bisect_left(self._places, address)
        after = bisect_right(self.limits, address)
        end = self.limits[after] if after < len(self.limits) else address + 8 * MAX_TABLE
        last = max(end, address + 8)
        if any(place < last for place in self._places[first + MAX_TABLE :][:1]):
            self._code.long_tables.add(address)
        for place in self._places[first : first + MAX_TABLE]:
            if place >= last:
                break
            if depth == MAX_CHAIN:
                self._code.deep_tables.add(address)
                break
            yield from self.functions(self._code.image.pointers[place], depth + 1)
