"""The system calls of one object: each `syscall` instruction with the numbers that it can have.

A number that a function is given by its caller (as syscall(3) is) is looked for in the callers,
through several such functions if need be. What stays unknown is counted, not guessed.
"""

import re
import struct
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from typing import NamedTuple

from onejob.profiler.static.elf_image import ElfImage
from onejob.profiler.static.trace import Function, Instruction, decode

NUMBERS = range(1024)  # the kernel's own are below 512; -1 and x32 calls are none
UNKNOWN = -1
GENERIC = "syscall"  # syscall(3): the number is its first argument
_GENERIC_REGISTER = "rdi"
_MAX_FUNCTION_BYTES = 256 * 1024
_MAX_WRAPPERS = 64
MAX_TABLE = 64  # pointers of one table
MAX_CHAIN = 3  # tables that lead to a further one
_RESTORER = b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05"  # mov rax, __NR_rt_sigreturn; syscall
# Where functions seem longer than this on average, their beginnings are not known.
_LIKELY_FUNCTION_BYTES = 8192
_BRANCH = re.compile(rb"[\xe8\xe9]|\x0f[\x80-\x8f]", re.DOTALL)
_THROUGH_SLOT = re.compile(rb"\xff[\x15\x25]", re.DOTALL)


class Site(NamedTuple):
    """A call that the instruction at `address` makes or, in words, how it asks for it."""

    number: int
    address: int
    function: int  # where its function begins
    how: str


class Sites:
    """Found calls, and the instructions whose number could not be found."""

    def __init__(self) -> None:
        self.found: list[Site] = []
        self.unknown: list[Site] = []  # with the number UNKNOWN
        self.wrappers: dict[int, str] = {}  # function -> register of the number


class Code:
    """Functions of an image by address, and who branches to whom."""

    def __init__(self, image: ElfImage) -> None:
        self.image = image
        self.long_functions: set[int] = set()  # of those that were decoded
        self.long_tables: set[int] = set()
        self.deep_tables: set[int] = set()  # that other tables lead to, and not followed
        self.function = lru_cache(maxsize=256)(self._function)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The beginnings of functions; of a stripped file without an unwind table, call targets."""
        known = self.image.function_starts
        size = sum(len(section.data) for section in self.image.code)
        if size // max(len(known), 1) < _LIKELY_FUNCTION_BYTES:
            return known
        return tuple(sorted({*known, *self.branches}))

    def start_of(self, address: int) -> int:
        """Where the function around `address`, which lies in code, begins."""
        return self.starts[bisect_right(self.starts, address) - 1]

    def _function(self, start: int) -> Function:
        """The function that begins at `start`."""
        return Function(self.instructions(start))

    def instructions(self, start: int) -> list[Instruction]:
        """From `start` to where the next function begins."""
        section = self.image.section_of(start)
        if section is None:
            return []
        after = bisect_right(self.starts, start)
        # Unwinders look up one byte before a return address, so the C library's unwind entry of the
        # code that ends a signal handler begins one byte before that code.
        if section.data.startswith(_RESTORER, start + 1 - section.address):
            start += 1
        whole = min(section.end, self.starts[after]) if after < len(self.starts) else section.end
        end = min(whole, start + _MAX_FUNCTION_BYTES)
        if end < whole:
            self.long_functions.add(start)
        return decode(section.data[start - section.address : end - section.address], start)

    def cuts(self) -> tuple[str, ...]:
        """What was left, of what was looked at."""
        kept = (
            (self.long_functions, f"functions are longer than {_MAX_FUNCTION_BYTES} bytes"),
            (self.long_tables, f"tables have more than {MAX_TABLE} functions"),
            (self.deep_tables, f"tables lie behind {MAX_CHAIN} others"),
        )
        return tuple(
            f"{len(places)} {why}: what comes after is left" for places, why in kept if places
        )

    @cached_property
    def branches(self) -> dict[int, list[int]]:
        """Target -> addresses of what look like direct calls and jumps to it."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for section in self.image.code:
            for match in _BRANCH.finditer(section.data):
                after = match.end() + 4
                if after <= len(section.data):
                    (distance,) = struct.unpack_from("<i", section.data, match.end())
                    target = section.address + after + distance
                    if self.image.section_of(target):
                        found[target].append(section.address + match.start())
        return dict(found)

    def falls_into(self, start: int) -> Iterator[tuple[int, Function, int]]:
        """The code before a beginning that was guessed from a branch, where it leads on to it.

        Such a beginning can be the middle of a function. Behind a call there is nothing to follow:
        it keeps no register that a number or an argument is in.
        """
        if start in self.image.function_starts or start == self.starts[0]:
            return
        before = self.start_of(start - 1)
        first = self.function(before).instructions
        last = first[-1] if first else None
        if last is None or last.address + last.size != start or last.passes_nothing_on:
            return
        yield before, Function([*first, *self.function(start).instructions]), len(first)

    def slot_branches(self, slots: set[int]) -> list[int]:
        """Addresses of what look like calls and jumps through one of `slots`."""
        found = []
        for section in self.image.code:
            for match in _THROUGH_SLOT.finditer(section.data):
                after = match.end() + 4
                if after <= len(section.data):
                    (distance,) = struct.unpack_from("<i", section.data, match.end())
                    if section.address + after + distance in slots:
                        found.append(section.address + match.start())
        return found

    def real(self, addresses: Iterable[int], name: str = "") -> Iterator[tuple[int, Function, int]]:
        """Those `addresses` at which an instruction (called `name`) begins: with its function."""
        for address in addresses:
            start = self.start_of(address)
            function = self.function(start)
            number = function.number_at(address)
            if number is not None and name in ("", function.instructions[number].name):
                yield start, function, number


def find_sites(code: Code) -> Sites:
    """All calls of the object, those of its callers of syscall(3) among them."""
    sites = Sites()
    waiting: list[tuple[int, str]] = []
    for start, function, number in code.real(_syscall_bytes(code.image), "syscall"):
        waiting += _look(sites, (start, function, number), "rax", "syscall instruction at")
    for start, function, number in code.real(_generic_callers(code)):
        waiting += _look(
            sites, (start, function, number), _GENERIC_REGISTER, "syscall(3) called at"
        )
    while waiting:
        wrapper, register = waiting.pop()
        if wrapper in sites.wrappers:
            continue
        sites.wrappers[wrapper] = register
        callers = list(code.real(code.branches.get(wrapper, ())))
        before = list(code.falls_into(wrapper))
        if len(sites.wrappers) > _MAX_WRAPPERS or not (
            callers or before or _is_exported(code, wrapper)
        ):
            sites.unknown.append(Site(UNKNOWN, wrapper, wrapper, "function at"))
            continue
        for place in before:
            waiting += _look(sites, place, register, "number given before")
        for start, function, number in callers:
            if function.instructions[number].target == wrapper and start != wrapper:
                place = (start, function, number)
                waiting += _look(sites, place, register, "number given by the call at")
    return sites


def _syscall_bytes(image: ElfImage) -> Iterator[int]:
    for section in image.code:
        at = section.data.find(b"\x0f\x05")
        while at >= 0:
            yield section.address + at
            at = section.data.find(b"\x0f\x05", at + 1)


def _generic_callers(code: Code) -> list[int]:
    """Who calls the imported syscall(3): through its slot, or the stub that jumps there."""
    slots = {address for address, name in code.image.slots.items() if name == GENERIC}
    if not slots:
        return []
    callers = []
    for address in code.slot_branches(slots):
        section = code.image.section_of(address)
        if section is None or not section.name.startswith(".plt"):
            callers.append(address)
            continue
        # A stub is 16 (or 8) bytes; the jump may stand after an endbr64 and a bnd prefix.
        for stub in range(address - 8, address + 1):
            callers += code.branches.get(stub, ())
    return callers


def _is_exported(code: Code, start: int) -> bool:
    return any(start in addresses for addresses in code.image.exports.values())


def _look(
    sites: Sites, place: tuple[int, Function, int], register: str, how: str
) -> list[tuple[int, str]]:
    """Book what `register` can hold; the function itself where its caller decides."""
    start, function, number = place
    values = function.values(number, register)
    address = function.instructions[number].address
    numbers = [value if value in NUMBERS else UNKNOWN for value in sorted(values.constants)]
    for value in (*numbers, *([UNKNOWN] if values.unknown else [])):
        where = sites.unknown if value == UNKNOWN else sites.found
        where.append(Site(value, address, start, how))
    return [(start, argument) for argument in sorted(values.arguments)]
