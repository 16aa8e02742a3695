"""Logs of Process Monitor made by hand: one story, written as its CSV and as its PML files.

The PML layout is that of procmon-parser's documentation, written here without the reader's help.
"""

import struct
from ipaddress import ip_address

RESULTS = {
    "SUCCESS": 0, "NAME NOT FOUND": 0xC0000034, "PATH NOT FOUND": 0xC000003A,
    "ACCESS DENIED": 0xC0000022, "FAST IO DISALLOWED": 0xC01C0004, "NO SUCH FILE": 0xC000000F,
    "END OF FILE": 0xC0000011,
}  # fmt: skip
ACCESS = {
    "Generic Read": 0x80000000, "Generic Write": 0x40000000, "Read Attributes": 0x80,
    "Read Data/List Directory": 1, "Append Data/Add Subdirectory/Create Pipe Instance": 4,
    "Generic Read/Write": 0xC0000000,
}  # fmt: skip
DISPOSITIONS = ["Supersede", "Open", "Create", "OpenIf", "Overwrite", "OverwriteIf"]
OPENED = ["Superseded", "Opened", "Created", "Overwritten", "Exists", "DoesNotExist"]
OPTIONS = {"Directory": 1, "Non-Directory File": 0x40, "Delete On Close": 0x1000}
COLUMNS = ["Time of Day", "Process Name", "PID", "Operation", "Path", "Result", "Detail"]
MORE_COLUMNS = ["TID", "Image Path", "Parent PID", "User"]
HEADER_SIZE = 0x3A8


def info(text: str) -> bytes:
    return struct.pack("<H", len(wide_text(text)) // 2)


def wide_text(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


class Story:
    """What processes did, in order; rows for CSV and events for PML side by side."""

    def __init__(self, *, wide: bool = True) -> None:
        self.wide = wide
        self.pointer = 8 if wide else 4
        self.processes: dict[int, tuple[int, str, str, tuple[str, ...]]] = {}
        self.rows: list[dict[str, str]] = []
        self.events: list[bytes] = []

    def process(self, pid: int, parent: int, image: str, *modules: str, user: str = "A\\b") -> None:
        """A process that the log has something of."""
        self.processes[pid] = parent, image, user, modules

    # --- operations ------------------------------------------------------------------------------

    def start(self, parent: int, pid: int) -> None:
        """`parent` creates `pid`, which has a first thread."""
        image = self.processes[pid][1]
        data = bytes(4) + struct.pack("<I", pid) + bytes(0x24) + bytes([2, 4])
        data += info(image) + info("-x") + bytes(2 + 2 + 4) + wide_text(image) + wide_text("-x")
        self._add(parent, 1, 1, "Process Create", data, image, f"PID: {pid}, Command line: -x")
        data = struct.pack("<I", parent) + info("-x") + info("C:\\") + struct.pack("<I", 0)
        data += wide_text("-x") + wide_text("C:\\")
        text = f"Parent PID: {parent}, Command line: -x, Current directory: C:\\, Environment: \r;"
        self._add(pid, 1, 7, "Process Start", data, "", text, thread=parent + 1)
        self.thread(pid, pid + 1, by=parent + 1)

    def exit(self, pid: int, working_set: int) -> None:
        data = struct.pack("<IQQQQQQ", 0, 0, 0, 1, working_set, 3, 4)
        text = f"Exit Status: 0, User Time: 0.0 seconds, Peak Working Set: {working_set:,}"
        self._add(pid, 1, 2, "Process Exit", data, "", text)

    def thread(self, pid: int, thread: int, by: int = 0) -> None:
        data = struct.pack("<I", thread)
        self._add(pid, 1, 3, "Thread Create", data, "", f"Thread ID: {thread}", thread=by)

    def end_thread(self, pid: int, thread: int) -> None:
        text = f"Thread ID: {thread}, User Time: 0.0156250"
        self._add(pid, 1, 4, "Thread Exit", bytes(20), "", text, thread=thread)

    def load(self, pid: int, path: str) -> None:
        data = bytes(self.pointer) + struct.pack("<I", 4096) + info(path) + bytes(2)
        text = "Image Base: 0x7ffa744e0000, Image Size: 0x1000"
        self._add(pid, 1, 5, "Load Image", data + wide_text(path), path, text)

    def create(
        self, pid: int, path: str, access: str = "Generic Read", disposition: str = "Open",
        options: str = "Non-Directory File", opened: str = "Opened", result: str = "SUCCESS",
    ) -> None:  # fmt: skip
        bits = sum(OPTIONS[word] for word in options.split(", "))
        block = bytes(0x10 + self.pointer - 4)
        block += struct.pack("<I", bits | DISPOSITIONS.index(disposition) << 24)
        text = f"Desired Access: {access}, Disposition: {disposition}, Options: {options}, "
        text += "Attributes: n/a, ShareMode: Read, Write, AllocationSize: n/a"
        more = b""
        if result == "SUCCESS":
            more = struct.pack("<I", OPENED.index(opened))
            text += f", OpenResult: {opened}"
        tail = struct.pack("<IBxxx", ACCESS[access], 0)
        self._file(pid, 20, "CreateFile", path, text, result, block=block, tail=tail, more=more)

    def transfer(
        self, pid: int, path: str, length: int, offset: int, *, write: bool = False,
        result: str = "SUCCESS",
    ) -> None:  # fmt: skip
        padding = bytes(self.pointer - 4)
        block = bytes(12) + struct.pack("<I", 2**20) + padding + bytes(4) + padding
        block += struct.pack("<q", offset)
        name = "WriteFile" if write else "ReadFile"
        text = f"Offset: {offset:,}, Length: {length:,}, Priority: Normal"
        more = struct.pack("<I", length)
        self._file(pid, 23 + write, name, path, text, result, block=block, more=more)

    def listed(self, pid: int, folder: str, wanted: str, result: str = "SUCCESS") -> None:
        text = f"Filter: {wanted}, 1: a.log, FileInformationClass: FileBothDirectoryInformation"
        tail = info(wanted) + wide_text(wanted)
        whole = f"{folder}\\{wanted}"
        self._file(pid, 32, "QueryDirectory", folder, text, result, sub=1, tail=tail, shown=whole)

    def delete(self, pid: int, path: str) -> None:
        name = "SetDispositionInformationFile"
        self._file(pid, 26, name, path, "Delete: True", sub=13, tail=b"\1\0\0\0")

    def other_file(
        self, pid: int, number: int, name: str, path: str, result: str = "SUCCESS", sub: int = 0
    ) -> None:
        self._file(pid, number, name, path, "", result, sub=sub)

    def registry(
        self, pid: int, number: int, name: str, path: str, before: int, result: str = "SUCCESS"
    ) -> None:
        data = info(path) + bytes(before) + wide_text(path)
        self._add(pid, 2, number, name, data, path, "", result)

    def network(
        self, pid: int, number: int, name: str, local: tuple[str, int], remote: tuple[str, int],
        length: int = 0,
    ) -> None:  # fmt: skip
        ends = [ip_address(end[0]) for end in (local, remote)]
        flags = (ends[0].version == 4) | (ends[1].version == 4) << 1 | name.startswith("TCP") << 2
        data = struct.pack("<HHI", flags, 0, length)
        data += b"".join(end.packed.ljust(16, b"\0") for end in ends)
        data += struct.pack("<HH", local[1], remote[1]) + bytes(4)
        path = f"{local[0]}:{local[1]} -> {remote[0]}:{remote[1]}"
        text = f"Length: {length:,}, seqnum: 0, connid: 0"
        self._add(pid, 5, number, name, data, path, text)

    def _file(
        self, pid: int, number: int, name: str, path: str, text: str, result: str = "SUCCESS", *,
        sub: int = 0, block: bytes = b"", tail: bytes = b"", more: bytes = b"", shown: str = "",
    ) -> None:  # fmt: skip
        data = bytes([sub, 0, 0, 0]) + block.ljust(self.pointer * 5 + 0x14, b"\0")
        data += info(path) + bytes(2) + wide_text(path) + tail
        self._add(pid, 3, number, name, data, shown or path, text, result, more=more)

    def _add(
        self, pid: int, kind: int, number: int, name: str, data: bytes, path: str, text: str,
        result: str = "SUCCESS", *, more: bytes = b"", thread: int = 0,
    ) -> None:  # fmt: skip
        parent, image, user, _ = self.processes[pid]
        values = ["1:02:03.1234567 AM", image.rpartition("\\")[2], str(pid), name, path, result]
        values += [text, str(thread or pid + 1), image, str(parent), user]
        self.rows.append(dict(zip(COLUMNS + MORE_COLUMNS, values, strict=True)))
        index = 1000 + list(self.processes).index(pid)
        place = 52 + 3 * self.pointer + len(data) if more else 0
        self.events.append(
            struct.pack("<IIIHHIQQIHHII", index, thread or pid + 1, kind, number, 0, 0, 7, 8,
                        RESULTS[result], 3, 0, len(data), place)
            + bytes(3 * self.pointer) + data
            + (struct.pack("<H", len(more)) + more if more else b"")
        )  # fmt: skip

    # --- files -----------------------------------------------------------------------------------

    def csv(self, columns: list[str] | None = None, encoding: str = "utf-8-sig") -> bytes:
        """As Procmon saves it; the columns in that order."""
        names = columns or COLUMNS + MORE_COLUMNS
        lines = [names, *([row[name] for name in names] for row in self.rows)]
        quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines]
        return "".join(line + "\r\n" for line in quoted).encode(encoding, "surrogatepass")

    def pml(self) -> bytes:
        """As Procmon saves it natively."""
        place, offsets = HEADER_SIZE, []
        for event in self.events:
            offsets.append(place)
            place += len(event)
        array = b"".join(struct.pack("<IB", offset, 0) for offset in offsets)
        strings: dict[str, int] = {"": 0}
        table = self._process_table(strings)
        processes = place + len(array)
        texts = processes + len(table)
        string_table = _string_table(list(strings))
        hosts = texts + len(string_table)
        header = struct.pack(
            "<4sII32s520sIQQQQQQ12xIIII", b"PML_", 9, self.wide, wide_text("HOST"),
            wide_text("C:\\Windows"), len(offsets), 0, HEADER_SIZE, place, processes, texts,
            hosts, 10, 0, 19045, 2,
        ).ljust(0x398, b"\0")  # fmt: skip
        header += struct.pack("<QQ", HEADER_SIZE, hosts)
        return header + b"".join(self.events) + array + table + string_table + bytes(8)

    def _process_table(self, strings: dict[str, int]) -> bytes:
        def number(text: str) -> int:
            return strings.setdefault(text, len(strings))

        rows = []
        for index, (pid, (parent, image, user, modules)) in enumerate(self.processes.items()):
            name = image.rpartition("\\")[2]
            row = struct.pack("<IIIIQII", 1000 + index, pid, parent, 0, 0, 0, 0)
            row += struct.pack("<QQIIII", index, 0, 0, 1, number("High"), number(user))
            row += struct.pack("<IIIIIIII", number(name), number(image), 0, 0, 0, 0, 0, 0)
            row += bytes(self.pointer) + struct.pack("<I", len(modules))
            for module in modules:
                row += bytes(2 * self.pointer) + struct.pack("<II", 4096, number(module))
                row += bytes(16 + 24)
            rows.append(row)
        start = 4 + 8 * len(rows)
        places = [start + sum(map(len, rows[:index])) for index in range(len(rows))]
        head = struct.pack("<I", len(rows)) + b"".join(
            struct.pack("<I", number) for number in [*range(1000, 1000 + len(rows)), *places]
        )
        return head + b"".join(rows)


def _string_table(texts: list[str]) -> bytes:
    rows = [struct.pack("<I", len(wide_text(text)) + 2) + wide_text(text + "\0") for text in texts]
    start = 4 + 4 * len(rows)
    places = [start + sum(map(len, rows[:index])) for index in range(len(rows))]
    head = struct.pack("<I", len(rows))
    return head + b"".join(struct.pack("<I", place) for place in places) + b"".join(rows)
