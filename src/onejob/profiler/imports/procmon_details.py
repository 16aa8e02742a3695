"""What one event of a PML file is: its operation, path and details, in the words of CSV files.

Numbers and layouts as https://github.com/eronnen/procmon-parser describes them. Only details that a
profile has a place for are read.
"""

import struct
from ipaddress import ip_address
from typing import NamedTuple

PROCESS, REGISTRY, FILE, PROFILING, NETWORK = range(1, 6)
_NAMES: dict[int, tuple[str, ...]] = {
    PROCESS: (
        "Process Defined", "Process Create", "Process Exit", "Thread Create", "Thread Exit",
        "Load Image", "Thread Profile", "Process Start", "Process Statistics",
        "System Statistics",
    ),
    REGISTRY: (
        "RegOpenKey", "RegCreateKey", "RegCloseKey", "RegQueryKey", "RegSetValue",
        "RegQueryValue", "RegEnumValue", "RegEnumKey", "RegSetInfoKey", "RegDeleteKey",
        "RegDeleteValue", "RegFlushKey", "RegLoadKey", "RegUnloadKey", "RegRenameKey",
        "RegQueryMultipleValueKey", "RegSetKeySecurity", "RegQueryKeySecurity",
    ),
    PROFILING: ("Thread Profiling", "Process Profiling", "Debug Output Profiling"),
    NETWORK: (
        "Unknown", "Other", "Send", "Receive", "Accept", "Connect", "Disconnect", "Reconnect",
        "Retransmit", "TCPCopy",
    ),
    FILE: (
        "VolumeDismount", "VolumeMount", "FASTIO_MDL_WRITE_COMPLETE", "WriteFile",
        "FASTIO_MDL_READ_COMPLETE", "ReadFile", "QueryOpen", "FASTIO_CHECK_IF_POSSIBLE",
        "IRP_MJ_12", "IRP_MJ_11", "IRP_MJ_10", "IRP_MJ_9", "IRP_MJ_8",
        "FASTIO_NOTIFY_STREAM_FO_CREATION", "FASTIO_RELEASE_FOR_CC_FLUSH",
        "FASTIO_ACQUIRE_FOR_CC_FLUSH", "FASTIO_RELEASE_FOR_MOD_WRITE",
        "FASTIO_ACQUIRE_FOR_MOD_WRITE", "FASTIO_RELEASE_FOR_SECTION_SYNCHRONIZATION",
        "CreateFileMapping", "CreateFile", "CreatePipe", "IRP_MJ_CLOSE", "ReadFile", "WriteFile",
        "QueryInformationFile", "SetInformationFile", "QueryEAFile", "SetEAFile",
        "FlushBuffersFile", "QueryVolumeInformation", "SetVolumeInformation", "DirectoryControl",
        "FileSystemControl", "DeviceIoControl", "InternalDeviceIoControl", "Shutdown",
        "LockUnlockFile", "CloseFile", "CreateMailSlot", "QuerySecurityFile", "SetSecurityFile",
        "Power", "SystemControl", "DeviceChange", "QueryFileQuota", "SetFileQuota", "PlugAndPlay",
    ),
}  # fmt: skip
# What an operation on files does in particular, by its number and that of the kind of it.
_PARTICULAR: dict[str, dict[int, str]] = {
    "SetInformationFile": {
        0x04: "SetBasicInformationFile", 0x0A: "SetRenameInformationFile",
        0x0B: "SetLinkInformationFile", 0x0D: "SetDispositionInformationFile",
        0x0E: "SetPositionInformationFile", 0x13: "SetAllocationInformationFile",
        0x14: "SetEndOfFileInformationFile", 0x16: "SetFileStreamInformation",
        0x17: "SetPipeInformation", 0x27: "SetValidDataLengthInformationFile",
        0x28: "SetShortNameInformation", 0x3D: "SetReplaceCompletionInformation",
        0x40: "SetDispositionInformationEx", 0x41: "SetRenameInformationEx",
        0x42: "SetRenameInformationExBypassAccessCheck",
    },
    "DirectoryControl": {1: "QueryDirectory", 2: "NotifyChangeDirectory"},
    "LockUnlockFile": {
        1: "LockFile", 2: "UnlockFileSingle", 3: "UnlockFileAll", 4: "UnlockFileByKey",
    },
}  # fmt: skip
_DISPOSITIONS = ("Supersede", "Open", "Create", "OpenIf", "Overwrite", "OverwriteIf")
_OPEN_RESULTS = ("Superseded", "Opened", "Created", "Overwritten", "Exists", "DoesNotExist")
_OPTIONS = ((0x1, "Directory"), (0x1000, "Delete On Close"))
# The rights that generic ones stand for (FILE_GENERIC_READ and so on, winnt.h).
_GENERIC = ((1 << 31, 0x120089), (1 << 30, 0x120116), (1 << 29, 0x1200A0), (1 << 28, 0x1F01FF))
_RIGHTS = (
    (0x1, "Read Data/List Directory"), (0x2, "Write Data/Add File"),
    (0x4, "Append Data/Add Subdirectory/Create Pipe Instance"), (0x20, "Execute/Traverse"),
)  # fmt: skip
_CREATED_KEY = 1  # REG_CREATED_NEW_KEY
# Bytes between the information about a registry path and the path.
_BEFORE_PATH = {
    "RegOpenKey": 6, "RegCreateKey": 6, "RegQueryKey": 10, "RegQueryValue": 10,
    "RegEnumValue": 14, "RegEnumKey": 14, "RegSetInfoKey": 14, "RegSetValue": 14,
    "RegLoadKey": 2, "RegRenameKey": 2,
}  # fmt: skip


class BodyError(Exception):
    """The details of an event end before what they should hold."""


class Body(NamedTuple):
    """What an event's details say."""

    operation: str
    path: str
    detail: dict[str, str]


class Cursor:
    """Bytes that are read one value after the other; BodyError where they end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self._data)

    def skip(self, size: int) -> None:
        """Go on by `size` bytes."""
        self._place += size

    def bytes(self, size: int) -> bytes:
        """The next `size` bytes."""
        part = self._data[self._place : self._place + size]
        if len(part) < size:
            raise BodyError
        self._place += size
        return part

    def number(self, form: str) -> int:
        """One number of that form (struct), little-endian."""
        value: int = struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}")))[0]
        return value

    def text(self, info: int) -> str:
        """A string of which `info` has the length, and in its highest bit that it is ASCII."""
        length = info & 0x7FFF
        if info >> 15:
            return self.bytes(length).decode("latin-1")
        return self.bytes(length * 2).decode("utf-16-le", "surrogatepass")


def operation_of(kind: int, number: int) -> str:
    """The name of an operation; its numbers where it has none."""
    names = _NAMES.get(kind, ())
    return names[number] if number < len(names) else f"operation {number} of class {kind}"


def read_body(kind: int, number: int, thread: int, data: bytes, more: bytes, *, wide: bool) -> Body:
    """The event of class `kind` with the details `data` and, elsewhere in the file, `more`;
    `wide` where the system has 64 bits. BodyError where they do not hold what they should."""
    operation = operation_of(kind, number)
    cursor = Cursor(data)
    try:
        if kind == FILE:
            return _file_body(operation, cursor, Cursor(more), 8 if wide else 4)
        if kind == REGISTRY:
            return _registry_body(operation, cursor, Cursor(more))
        if kind == NETWORK:
            return _network_body(operation, cursor)
        if kind == PROCESS:
            return _process_body(operation, cursor, thread, 8 if wide else 4)
    except UnicodeDecodeError as error:
        raise BodyError from error
    return Body(operation, "", {})


# --- files ---------------------------------------------------------------------------------------


def _file_body(operation: str, cursor: Cursor, more: Cursor, pointer: int) -> Body:
    particular = cursor.number("B")
    cursor.skip(3)
    block = cursor.bytes(pointer * 5 + 0x14)
    info = cursor.number("H")
    cursor.skip(2)
    path = cursor.text(info)
    if particular:
        operation = _PARTICULAR.get(operation, {}).get(particular, operation)
    if operation == "CreateFile":
        return Body(operation, path, _create_detail(Cursor(block), cursor, more, pointer))
    if operation in ("ReadFile", "WriteFile"):
        return Body(operation, path, _transfer_detail(Cursor(block), more, pointer))
    if operation == "QueryDirectory":
        wanted = cursor.text(cursor.number("H"))
        whole = path.rstrip("\\") + "\\" + wanted if wanted else path
        return Body(operation, whole, {"Filter": wanted} if wanted else {})
    if operation in ("SetDispositionInformationFile", "SetDispositionInformationEx"):
        # FILE_DISPOSITION_INFORMATION and ..._EX: a boolean, and flags whose first is DELETE.
        deletes = cursor.number("B") & 1
        return Body(operation, path, {"Delete": str(bool(deletes))})
    return Body(operation, path, {})


def _create_detail(block: Cursor, rest: Cursor, more: Cursor, pointer: int) -> dict[str, str]:
    access = rest.number("I")
    for generic, stands_for in _GENERIC:
        access |= stands_for if access & generic else 0
    block.skip(0x10 + pointer - 4)
    options = block.number("I")
    detail = {
        "Desired Access": ", ".join(word for bit, word in _RIGHTS if access & bit),
        "Options": ", ".join(word for bit, word in _OPTIONS if options & bit),
        "Disposition": _word(_DISPOSITIONS, options >> 24),
    }
    if more:
        detail["OpenResult"] = _word(_OPEN_RESULTS, more.number("I"))
    return detail


def _transfer_detail(block: Cursor, more: Cursor, pointer: int) -> dict[str, str]:
    block.skip(0xC)
    length = block.number("I")
    block.skip(4 + 2 * (pointer - 4))
    offset = block.number("q")
    if more:
        length = more.number("I")  # what was really moved
    return {"Length": str(length), "Offset": str(offset)}


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else "<unknown>"


# --- registry, network, processes ----------------------------------------------------------------


def _registry_body(operation: str, cursor: Cursor, more: Cursor) -> Body:
    info = cursor.number("H")
    cursor.skip(_BEFORE_PATH.get(operation, 0))
    path = cursor.text(info)
    if operation == "RegCreateKey" and more:
        more.skip(4)
        made = more.number("I") == _CREATED_KEY
        return Body(operation, path, {"Disposition": "REG_CREATED_NEW_KEY"} if made else {})
    return Body(operation, path, {})


def _network_body(operation: str, cursor: Cursor) -> Body:
    flags = cursor.number("H")
    cursor.skip(2)
    length = cursor.number("I")
    local, remote = cursor.bytes(16), cursor.bytes(16)
    ports = cursor.number("H"), cursor.number("H")
    ends = (
        f"{ip_address(data[:4] if flags & bit else data)}:{port}"
        for data, bit, port in ((local, 1, ports[0]), (remote, 2, ports[1]))
    )
    protocol = "TCP" if flags & 4 else "UDP"
    return Body(f"{protocol} {operation}", " -> ".join(ends), {"Length": str(length)})


def _process_body(operation: str, cursor: Cursor, thread: int, pointer: int) -> Body:
    if operation == "Load Image":
        cursor.skip(pointer + 4)
        info = cursor.number("H")
        cursor.skip(2)
        return Body(operation, cursor.text(info), {})
    if operation == "Process Create":
        cursor.skip(4)
        pid = cursor.number("I")
        cursor.skip(0x24)
        sizes = cursor.number("B") + cursor.number("B")
        info = cursor.number("H")
        cursor.skip(4 + sizes)
        return Body(operation, cursor.text(info), {"PID": str(pid)})
    if operation == "Process Start":
        return Body(operation, "", {"Parent PID": str(cursor.number("I"))})
    if operation == "Process Exit":
        cursor.skip(4 + 8 + 8 + 8)
        return Body(operation, "", {"Peak Working Set": str(cursor.number("Q"))})
    if operation == "Thread Create":
        return Body(operation, "", {"Thread ID": str(cursor.number("I"))})
    if operation == "Thread Exit":
        return Body(operation, "", {"Thread ID": str(thread)})
    return Body(operation, "", {})
