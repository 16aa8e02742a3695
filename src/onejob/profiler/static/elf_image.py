"""An ELF file's code, symbols and pointers, read from untrusted bytes with every count checked.

Only what static completion asks for. Read with struct over whole tables, because pyelftools makes
an object of each row (seconds for a large library) and believes the counts of a broken file.
"""

import hashlib
import os
import stat
import struct
from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple

MAX_BYTES = 256 * 1024 * 1024
_MAX_SECTIONS = 4096
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_PROGBITS, _RELA, _NOBITS, _DYNSYM, _SYMTAB, _RELR = 1, 4, 8, 11, 2, 19
_OBJECT = 1  # STT_OBJECT
_FUNCTIONS = {2, 10}  # STT_FUNC, STT_GNU_IFUNC
_GLOB_DAT, _JUMP_SLOT, _RELATIVE, _64, _IRELATIVE = 6, 7, 8, 1, 37  # R_X86_64_...
_X86_64 = 62
_UNWIND_FORM = (0x1B, 0x03, 0x3B)  # eh_frame_hdr: pcrel|sdata4, udata4, datarel|sdata4


class Section(NamedTuple):
    """A row of the section headers whose bytes lie in the file."""

    name: str
    kind: int
    flags: int
    address: int
    data: bytes
    link: int

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.address + len(self.data)


class Symbol(NamedTuple):
    """A row of a symbol table; not `defined` is an import."""

    name: str
    kind: int
    address: int
    size: int
    defined: bool


class NotElf(Exception):
    """The file is no x86-64 ELF file that can be understood; the text says why."""


def read_elf(path: str) -> "ElfImage":
    """The ELF file at `path`; NotElf where it is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise NotElf("not a regular file")
            if status.st_size > MAX_BYTES:
                raise NotElf(f"larger than {MAX_BYTES} bytes")
            return ElfImage(file.read(MAX_BYTES))
    except OSError as error:
        raise NotElf(error.strerror or "cannot be read") from error


class ElfImage:
    """The tables of one file, each read when it is first asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        if len(data) < 64 or data[:4] != b"\x7fELF":
            raise NotElf("no ELF file")
        machine = struct.unpack_from("<H", data, 18)[0]
        if (data[4], data[5], machine) != (2, 1, _X86_64):
            raise NotElf("not for x86-64")
        self.sections = self._sections()
        if not self.code:
            raise NotElf("it has no section with code")

    @property
    def sha256(self) -> str:
        """Of the bytes that were read."""
        return hashlib.sha256(self._data).hexdigest()

    def _sections(self) -> tuple[Section, ...]:
        (start,) = struct.unpack_from("<Q", self._data, 40)
        size, count, names = struct.unpack_from("<HHH", self._data, 58)
        if size != 64 or not 0 < count <= _MAX_SECTIONS:
            raise NotElf("it has no section headers")
        if start + size * count > len(self._data):
            raise NotElf("its section headers lie beyond its end")
        rows = list(struct.iter_unpack("<IIQQQQIIQQ", self._data[start : start + size * count]))
        texts = self._bytes(rows[names]) if names < count else b""
        return tuple(
            Section(_text(texts, row[0]), row[1], row[2], row[3], self._bytes(row), row[6])
            for row in rows
        )

    def _bytes(self, row: tuple[int, ...]) -> bytes:
        kind, offset, size = row[1], row[4], row[5]
        inside = kind != _NOBITS and offset + size <= len(self._data)
        return self._data[offset : offset + size] if inside else b""

    @cached_property
    def code(self) -> tuple[Section, ...]:
        """The executable sections, by address."""
        wanted = _ALLOC | _EXECUTE
        found = [s for s in self.sections if s.flags & wanted == wanted and s.data]
        return tuple(sorted(found, key=lambda section: section.address))

    @cached_property
    def constants(self) -> tuple[bytes, ...]:
        """The read-only data sections, where string constants lie."""
        return tuple(
            s.data for s in self.sections
            if s.kind == _PROGBITS and s.flags & _ALLOC and not s.flags & (_WRITE | _EXECUTE)
        )  # fmt: skip

    @cached_property
    def dynamic_symbols(self) -> tuple[Symbol, ...]:
        """The imports and exports."""
        return self._symbols(_DYNSYM)

    @cached_property
    def imports(self) -> frozenset[str]:
        """Names that another object has to define."""
        return frozenset(s.name for s in self.dynamic_symbols if not s.defined and s.name)

    @cached_property
    def exports(self) -> dict[str, tuple[int, ...]]:
        """The addresses of each exported function; more than one where it has versions."""
        found: dict[str, set[int]] = {}
        for symbol in self.dynamic_symbols:
            if symbol.defined and symbol.kind in _FUNCTIONS:
                found.setdefault(symbol.name, set()).add(symbol.address)
        return {name: tuple(sorted(addresses)) for name, addresses in found.items()}

    @cached_property
    def data_symbols(self) -> dict[int, str]:
        """Exported data by address, such as `stdout`."""
        symbols = (s for s in self.dynamic_symbols if s.defined and s.kind == _OBJECT)
        return {symbol.address: symbol.name for symbol in symbols}

    def _symbols(self, kind: int) -> tuple[Symbol, ...]:
        table = next((s for s in self.sections if s.kind == kind), None)
        if table is None or table.link >= len(self.sections):
            return ()
        names = self.sections[table.link].data
        rows = struct.iter_unpack("<IBBHQQ", table.data[: len(table.data) // 24 * 24])
        return tuple(
            Symbol(_text(names, name), info & 15, value, size, section != 0)
            for name, info, _, section, value, size in rows
        )

    @cached_property
    def slots(self) -> dict[int, str]:
        """The import that the loader puts at an address of the global offset table."""
        symbols = self.dynamic_symbols
        return {
            address: symbols[number].name
            for address, kind, number, _ in self._relocations
            if kind in (_GLOB_DAT, _JUMP_SLOT) and number < len(symbols)
        }

    @cached_property
    def pointers(self) -> dict[int, int]:
        """Address -> the address that the loader puts there: tables of functions and of data."""
        symbols = self.dynamic_symbols
        found = {}
        for address, kind, number, addend in self._relocations:
            if kind in (_RELATIVE, _IRELATIVE):
                found[address] = addend
            elif kind not in (_64, _GLOB_DAT, _JUMP_SLOT) or number >= len(symbols):
                continue
            elif symbols[number].defined:
                found[address] = symbols[number].address + addend
        return {**found, **self._packed_pointers()}

    @cached_property
    def _relocations(self) -> tuple[tuple[int, int, int, int], ...]:
        rows: list[tuple[int, int, int, int]] = []
        for section in self.sections:
            if section.kind == _RELA:
                whole = section.data[: len(section.data) // 24 * 24]
                for address, info, addend in struct.iter_unpack("<QQq", whole):
                    rows.append((address, info & 0xFFFFFFFF, info >> 32, addend))
        return tuple(rows)

    def _packed_pointers(self) -> dict[int, int]:
        """Relative relocations in the packed form (SHT_RELR): an address, or a map of the next."""
        found: dict[int, int] = {}
        for section in (s for s in self.sections if s.kind == _RELR):
            place = 0
            for (entry,) in struct.iter_unpack("<Q", section.data[: len(section.data) // 8 * 8]):
                if not entry & 1:
                    places, place = [entry], entry + 8
                else:
                    places = [place + 8 * bit for bit in range(63) if entry >> (bit + 1) & 1]
                    place += 8 * 63
                for address in places:
                    if (value := self.word(address)) is not None:
                        found[address] = value
        return found

    @cached_property
    def _data_sections(self) -> tuple[Section, ...]:
        kept = [s for s in self.sections if s.flags & _ALLOC and s.data]
        return tuple(sorted(kept, key=lambda section: section.address))

    def word(self, address: int) -> int | None:
        """The 8 bytes at `address`, as they stand in the file."""
        index = bisect_right(self._data_sections, address, key=lambda s: s.address) - 1
        section = self._data_sections[index] if index >= 0 else None
        if section is None or address + 8 > section.end:
            return None
        return int(struct.unpack_from("<Q", section.data, address - section.address)[0])

    def section_of(self, address: int) -> Section | None:
        """The executable section that `address` lies in."""
        return next((s for s in self.code if s.address <= address < s.end), None)

    @cached_property
    def function_starts(self) -> tuple[int, ...]:
        """Where functions begin: unwind table, symbols, entry; sorted, all in code."""
        found = {struct.unpack_from("<Q", self._data, 24)[0], *self._unwind_starts()}
        for symbol in (*self.dynamic_symbols, *self._symbols(_SYMTAB)):
            if symbol.defined and symbol.kind in _FUNCTIONS:
                found.add(symbol.address)
        found |= {section.address for section in self.code}
        return tuple(sorted(address for address in found if self.section_of(address)))

    def _unwind_starts(self) -> list[int]:
        """The sorted table of .eh_frame_hdr, present even in stripped files."""
        section = next((s for s in self.sections if s.name == ".eh_frame_hdr"), None)
        if section is None or len(section.data) < 12 or tuple(section.data[1:4]) != _UNWIND_FORM:
            return []
        (count,) = struct.unpack_from("<I", section.data, 8)
        rows = section.data[12 : 12 + 8 * count]
        whole = rows[: len(rows) // 8 * 8]
        return [section.address + start for start, _ in struct.iter_unpack("<ii", whole)]


def _text(table: bytes, start: int) -> str:
    """The string at `start` of a string table; broken bytes become a replacement character."""
    end = table.find(b"\0", start, start + 1024)
    return table[start:end].decode(errors="replace") if end > start else ""
