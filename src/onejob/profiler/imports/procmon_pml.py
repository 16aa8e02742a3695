"""Process Monitor's native log, PML version 9: tables and events at offsets that are checked.

Laid out as https://github.com/eronnen/procmon-parser/blob/master/docs/PML%20Format.md has it, whose
names are used here. What events say beyond that is in procmon_details.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from onejob.model.errors import InputError
from onejob.model.profile import WINDOWS
from onejob.profiler.imports.processes import MAX_FOLLOWED
from onejob.profiler.imports.procmon import MAX_NAME, MAX_PATH, Event, ProcessSeen
from onejob.profiler.imports.procmon_details import BodyError, operation_of, read_body
from onejob.profiler.imports.procmon_results import result_name
from onejob.profiler.imports.source import Source
from onejob.profiler.imports.tally import Tally

_SIGNATURE = b"PML_"
_VERSION = 9
_HEADER = struct.Struct("<4sII32x520xI8x8xQQQ8x12xIII")
_HEADER_SIZE = 0x3A8
_OFFSET = struct.Struct("<IB")  # and flags
_EVENT = struct.Struct("<IIIHHIQQIHHII")
_PROCESS = struct.Struct("<III20xQ20xIII24x")
_MODULE = 4 + 4 * 5 + 24  # bytes, besides two pointers
_MAX_BODY = 2**20
_MAX_TEXT = 2**28  # bytes, of processes' names and paths
_BATCH = 4096  # offsets at a time
_OUTSIDE = "events that are not where the file says"
_NO_FORM = "events whose details do not have their form"
_UNNAMED = "events of an unknown process"
_CUT = "events whose places the file does not hold"
_SAVE_AGAIN = "save it again in Process Monitor, or save it as CSV"


class _Header(NamedTuple):
    wide: bool  # 64 bit
    events: int
    offsets: int
    processes: int
    strings: int
    version: tuple[int, int, int]


def is_pml(head: bytes) -> bool:
    """Whether a file that begins so is such a log."""
    return head.startswith(_SIGNATURE)


class PmlLog:
    """Such a file; InputError where it is not whole."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._header = self._read_header()
        self._pointer = 8 if self._header.wide else 4
        self._string = lru_cache(maxsize=2**14)(self._read_string)
        self._strings = self._number(self._header.strings)
        self._text_left = _MAX_TEXT
        self._modules_left = source.size // (_MODULE + 2 * self._pointer)
        self.processes: dict[int, ProcessSeen] = {}
        self._read_processes()
        self.system = f"{WINDOWS} {'.'.join(map(str, self._header.version))}"
        self.machine = "x86_64" if self._header.wide else "i686"

    def events(self, tally: Tally) -> Iterator[Event]:
        """The events, in the order of the array of their offsets."""
        end = 0  # of the event before: they lie one after the other, so that none counts twice
        for offset in self._offsets(tally):
            head = self._at(offset, _EVENT.size)
            if offset < end or len(head) < _EVENT.size:
                tally.lose(_OUTSIDE)
                continue
            fields = _EVENT.unpack(head)
            process, thread, kind, number, result, size = (*fields[:4], fields[8], fields[11])
            end = offset + _EVENT.size + fields[9] * self._pointer + size
            if end > self._source.size or size > _MAX_BODY:
                tally.lose(_OUTSIDE)
            elif process not in self.processes:
                tally.lose(_UNNAMED)
            else:
                more = self._more(offset, fields[12])
                data = self._at(end - size, size)
                try:
                    body = read_body(kind, number, thread, data, more, wide=self._header.wide)
                except BodyError:
                    tally.lose(_NO_FORM, operation_of(kind, number))
                    continue
                yield Event(
                    process, thread, body.operation, body.path, result_name(result), body.detail
                )

    # --- tables ----------------------------------------------------------------------------------

    def _at(self, place: int, size: int) -> bytes:
        """Up to `size` bytes of the file; fewer where it ends."""
        if place >= self._source.size:
            return b""
        self._source.file.seek(place)
        return self._source.file.read(size)

    def _number(self, place: int) -> int:
        data = self._at(place, 4)
        if len(data) < 4:
            raise self._broken(f"a table at {place} lies outside of it")
        return int.from_bytes(data, "little")

    def _broken(self, why: str) -> InputError:
        return InputError(f"{self._source.path}: no whole PML file: {why}", _SAVE_AGAIN)

    def _read_header(self) -> _Header:
        data = self._at(0, _HEADER_SIZE)
        if len(data) < _HEADER_SIZE:
            raise self._broken("it ends within its header")
        _, version, wide, events, offsets, processes, strings, *numbers = _HEADER.unpack_from(data)
        if version != _VERSION:
            raise InputError(
                f"{self._source.path} is a PML file of version {version}; {_VERSION} can be read",
                "save it as CSV in Process Monitor, and import that",
            )
        if not (offsets and processes and strings):
            raise self._broken("Process Monitor did not end it")
        major, minor, build = numbers
        return _Header(bool(wide), events, offsets, processes, strings, (major, minor, build))

    def _offsets(self, tally: Tally) -> Iterator[int]:
        place, left = self._header.offsets, self._header.events
        while left:
            data = self._at(place, _OFFSET.size * min(left, _BATCH))
            whole = len(data) // _OFFSET.size
            if not whole:
                tally.lose(_CUT, times=left)
                return
            for index in range(whole):
                yield _OFFSET.unpack_from(data, index * _OFFSET.size)[0]
            place += whole * _OFFSET.size
            left -= whole

    def _more(self, offset: int, relative: int) -> bytes:
        """An event's further details, which need not lie beside it."""
        if not relative:
            return b""
        size = int.from_bytes(self._at(offset + relative, 2), "little")
        return self._at(offset + relative + 2, size)

    def _read_string(self, index: int) -> str:
        """The string of that index; empty where there is none."""
        if index >= self._strings:
            return ""
        table = self._header.strings
        offset = int.from_bytes(self._at(table + 4 + 4 * index, 4), "little")
        size = int.from_bytes(self._at(table + offset, 4), "little")
        data = self._at(table + offset + 4, min(size, 2 * MAX_PATH) & ~1)
        self._text_left -= len(data)
        if self._text_left < 0:
            raise self._broken("its processes have more text than any system's")
        text = data[: len(data) & ~1].decode("utf-16-le", "surrogatepass")
        return text.partition("\0")[0]

    def _read_processes(self) -> None:
        table = self._header.processes
        count = self._number(table)
        if table + 4 + 8 * count > self._source.size:
            raise self._broken(f"its table of {count} processes lies outside of it")
        if count > MAX_FOLLOWED:
            raise InputError(f"{self._source.path}: more than {MAX_FOLLOWED} processes")
        began: dict[int, tuple[int, int]] = {}  # process -> its parent's PID, when it began
        for index in range(count):
            offset = self._number(table + 4 + 4 * count + 4 * index)
            data = self._at(table + offset, _PROCESS.size + self._pointer)
            if len(data) < _PROCESS.size + self._pointer:
                raise self._broken(f"process {index} lies outside of it")
            number, pid, parent, start, user, name, image = _PROCESS.unpack_from(data)
            began[number] = parent, start
            self.processes[number] = ProcessSeen(
                pid=pid,
                name=self._string(name)[:MAX_NAME],
                image=self._string(image),
                user=self._string(user)[:MAX_NAME],
                modules=self._read_modules(table + offset + _PROCESS.size + self._pointer),
            )
        self._find_parents(began)

    def _read_modules(self, place: int) -> tuple[str, ...]:
        count = self._number(place)
        size = _MODULE + 2 * self._pointer
        self._modules_left -= count
        if self._modules_left < 0:
            raise self._broken("it says that it holds more modules than it can")
        modules: dict[str, None] = {}
        for index in range(count):
            image = self._number(place + 4 + index * size + 2 * self._pointer + 4)
            modules[self._string(image)] = None
        return tuple(path for path in modules if path)

    def _find_parents(self, began: dict[int, tuple[int, int]]) -> None:
        """Who of those with a parent's PID it is: the last that began before its child."""
        numbers: dict[int, list[int]] = {}
        for number in sorted(began, key=lambda number: began[number][1]):
            numbers.setdefault(self.processes[number].pid, []).append(number)
        for number, (pid, start) in began.items():
            older = [n for n in numbers.get(pid, ()) if began[n][1] <= start and n != number]
            self.processes[number].parent = older[-1] if older else -1
