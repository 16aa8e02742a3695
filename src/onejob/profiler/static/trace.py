"""One function's instructions, and which constants can be in a register at one of them.

Values are followed backwards along every way that leads to the instruction. Where each way ends in
a constant, those are all; where one does not, that way is unknown, and nothing is guessed.
"""

import re
from typing import NamedTuple

import capstone

_MAX_STEPS = 2000
# Registers by their first name; parts that leave the rest as it was stand in _PARTS.
_WIDE = {
    **{f"{first}{name}": f"r{name}" for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
       for first in "re"},
    **{f"r{n}{last}": f"r{n}" for n in range(8, 16) for last in ("", "d")},
}  # fmt: skip
_PARTS = {
    **{part: f"r{part[0]}x" for part in ("al", "ah", "bl", "bh", "cl", "ch", "dl", "dh")},
    **{part: f"r{part}" for part in ("ax", "bx", "cx", "dx", "si", "di", "bp")},
    **{f"{part}l": f"r{part}" for part in ("si", "di", "bp")},
    **{f"r{n}{last}": f"r{n}" for n in range(8, 16) for last in "bw"},
}  # fmt: skip
_ANY = {**_WIDE, **_PARTS}
_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax")  # rax: Go's first (ABIInternal)
_CALL_CHANGES = {"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"}
# What changes registers that its operands do not name.
_HIDDEN = re.compile(
    r"i?mul|i?div|cdq|cqo|cdqe|cwd|cwde|cbw|cpuid|rdtsc|rdtscp|rdpmc|rdmsr|xgetbv|cmpxchg|lods|stos"
    r"|scas|movs[bwq]$|movsd$|cmps[bwdq]$|rep|xlat|in[sbwd]?$|lahf|mulx|rdsspq?|popa|loop|enter|leave"
)
_READS = re.compile(
    r"cmp$|test$|push|j|call|nop|ret|bt$|ud2|hlt|fence|prefetch|bnd|notrack|endbr|v?u?comis"
    r"|v?ptest|f|int|pause|lock$|sfence|mfence|lfence|clflush|out"
)
_ENDS = re.compile(r"(bnd |notrack )?(jmp|ret|retf|iretq)$|hlt$|ud2$|int3$")


class Instruction(NamedTuple):
    """As capstone gives it; `operands` in Intel's order, the changed one first."""

    address: int
    size: int
    name: str
    operands: str

    @property
    def target(self) -> int | None:
        """Where a direct call or jump goes."""
        direct = self.operands.startswith("0x") and self.jumps_or_calls
        return int(self.operands, 16) if direct else None

    @property
    def jumps_or_calls(self) -> bool:
        """Whether control may go elsewhere."""
        word = self.name.rpartition(" ")[2]
        return word == "call" or word.startswith("j") or word.startswith("loop")

    @property
    def passes_nothing_on(self) -> bool:
        """Whether what comes next has nothing from here: this one calls, or never comes there."""
        return self.name.endswith("call") or _ENDS.match(self.name) is not None

    @property
    def slot(self) -> int | None:
        """The address that an operand names relative to this instruction."""
        found = re.search(r"\[rip ([+-]) (0x[0-9a-f]+|[0-9]+)\]", self.operands)
        if not found:
            return None
        distance = int(found[2], 0)
        return self.address + self.size + (distance if found[1] == "+" else -distance)


class Values(NamedTuple):
    """What a register can hold: constants, arguments of the function by register, or unknown."""

    constants: frozenset[int]
    arguments: frozenset[str]
    unknown: bool


def decode(code: bytes, address: int) -> list[Instruction]:
    """The instructions of `code`; a byte that begins none is called ``.byte``."""
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.skipdata = True
    return [Instruction(*row) for row in decoder.disasm_lite(code, address)]


class Function:
    """Decoded instructions of one function, with the ways between them."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self.instructions = instructions
        self._index = {row.address: number for number, row in enumerate(instructions)}
        self._sources: dict[int, list[int]] = {}
        for number, row in enumerate(instructions):
            if row.target is not None and not row.name.endswith("call"):
                target = self._index.get(row.target)
                if target is not None:
                    self._sources.setdefault(target, []).append(number)

    def number_at(self, address: int) -> int | None:
        """The place of the instruction that begins at `address`."""
        return self._index.get(address)

    def values(self, number: int, register: str) -> Values:
        """What `register` can hold when instruction `number` is reached."""
        constants: set[int] = set()
        arguments: set[str] = set()
        unknown = False
        todo = self._before(number, register)
        seen = set(todo)
        while todo:
            at, wanted = todo.pop()
            if at < 0:
                known = at == -1 and wanted in _ARGUMENTS
                arguments |= {wanted} if known else set()
                unknown |= not known
                continue
            value = self._effect(at, wanted)
            if isinstance(value, int):
                constants.add(value)
            elif value == "?":
                unknown = True
            else:
                more = [way for way in self._before(at, value) if way not in seen]
                seen |= set(more)
                todo += more
            if len(seen) > _MAX_STEPS:
                return Values(frozenset(), frozenset(), True)
        return Values(frozenset(constants), frozenset(arguments), unknown)

    def _effect(self, number: int, register: str) -> int | str:
        """As `effect`, and what compilers write for small numbers: push a constant, pop it."""
        row, before = self.instructions[number], self.instructions[number - 1]
        if number and row.name == "pop" and before.name == "push" and number not in self._sources:
            return _source(before.operands) if _WIDE.get(row.operands) == register else register
        return effect(row, register)

    def _before(self, number: int, register: str) -> list[tuple[int, str]]:
        """The instructions that control can come from; -1 is the caller, -2 nobody knows."""
        ways = [(source, register) for source in self._sources.get(number, ())]
        if number == 0:
            return [*ways, (-1, register)]
        previous = self.instructions[number - 1]
        gap = previous.address + previous.size != self.instructions[number].address
        if not gap and not _ENDS.match(previous.name):
            return [*ways, (number - 1, register)]
        padding = self.instructions[number].name.rpartition(" ")[2] in ("nop", "int3")
        return ways if ways or padding else [(-2, register)]  # -2: a table of jumps leads here


def effect(row: Instruction, register: str) -> int | str:
    """What `row` does to `register`: its new constant, the register it is copied from, or "?"."""
    name = row.name
    if name == "syscall":
        return "?" if register in ("rax", "rcx", "r11") else register
    if name.endswith("call"):
        return "?" if register in _CALL_CHANGES else register
    first, _, second = (part.strip() for part in row.operands.partition(","))
    if name == ".byte":
        return "?"
    hidden = _HIDDEN.match(name) or _HIDDEN.match(name.rpartition(" ")[2])
    if hidden and register in ("rax", "rcx", "rdx", "rsi", "rdi", "rbp"):
        return "?"
    if name.startswith(("xchg", "xadd", "lock", "pop")):
        words = {_ANY.get(word) for word in re.findall(r"\w+", row.operands)}
        return "?" if register in words else register
    if _ANY.get(first) != register or _READS.match(name):
        return register
    if first in _WIDE and name in ("mov", "movabs"):
        return _source(second)
    if name in ("xor", "sub") and first in _WIDE and first == second:
        return 0
    if name == "movsxd" and second in _WIDE:
        return _WIDE[second]
    return "?"


def _source(operand: str) -> int | str:
    """A constant, a register, or what cannot be known."""
    if re.fullmatch(r"-?(0x[0-9a-f]+|[0-9]+)", operand):
        return int(operand, 0)
    return _WIDE.get(operand, "?")
