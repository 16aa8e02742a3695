"""The words by which Process Monitor names results (NTSTATUS), and what they mean for a use."""

SUCCESS = "SUCCESS"
# [MS-ERREF] 2.3.1; Procmon's words, which are not those of the document.
_NAMES = {
    0: SUCCESS, 0x103: "", 0x104: "REPARSE", 0x105: "MORE ENTRIES",
    0x108: "OPLOCK BREAK IN PROGRESS", 0x10B: "NOTIFY CLEANUP", 0x10C: "NOTIFY ENUM DIR",
    0x12A: "FILE LOCKED WITH ONLY READERS", 0x12B: "FILE LOCKED WITH WRITERS",
    0x215: "OPLOCK SWITCHED TO NEW HANDLE", 0x216: "OPLOCK HANDLE CLOSED",
    0x40000016: "PREDEFINED HANDLE", 0x80000005: "BUFFER OVERFLOW", 0x80000006: "NO MORE FILES",
    0x8000001A: "NO MORE ENTRIES", 0xC000000D: "INVALID PARAMETER", 0xC000000E: "NO SUCH DEVICE",
    0xC000000F: "NO SUCH FILE", 0xC0000010: "INVALID DEVICE REQUEST", 0xC0000011: "END OF FILE",
    0xC0000022: "ACCESS DENIED", 0xC0000023: "BUFFER TOO SMALL", 0xC0000033: "NAME INVALID",
    0xC0000034: "NAME NOT FOUND", 0xC0000035: "NAME COLLISION", 0xC0000039: "OBJECT PATH INVALID",
    0xC000003A: "PATH NOT FOUND", 0xC000003B: "PATH SYNTAX BAD", 0xC0000043: "SHARING VIOLATION",
    0xC0000054: "FILE LOCK CONFLICT", 0xC0000056: "DELETE PENDING",
    0xC0000061: "PRIVILEGE NOT HELD", 0xC000007F: "DISK FULL", 0xC00000BA: "IS DIRECTORY",
    0xC00000BB: "NOT SUPPORTED", 0xC00000BE: "BAD NETWORK PATH", 0xC0000101: "NOT EMPTY",
    0xC0000103: "NOT A DIRECTORY", 0xC0000120: "CANCELLED", 0xC0000121: "CANNOT DELETE",
    0xC000017C: "KEY DELETED", 0xC0000225: "NOT FOUND", 0xC0000243: "USER MAPPED FILE",
    0xC0000275: "NOT REPARSE POINT", 0xC01C0004: "FAST IO DISALLOWED",
}  # fmt: skip
# The thing is there, and what was asked for came about, in part at least.
_SUCCEEDED = {
    SUCCESS, "REPARSE", "MORE ENTRIES", "NOTIFY ENUM DIR", "FILE LOCKED WITH ONLY READERS",
    "FILE LOCKED WITH WRITERS", "PREDEFINED HANDLE", "BUFFER OVERFLOW", "BUFFER TOO SMALL",
    "NO MORE FILES", "NO MORE ENTRIES", "END OF FILE",
}  # fmt: skip
_MISSING = {"NAME NOT FOUND", "PATH NOT FOUND", "NO SUCH FILE"}
# Not done yet, or done again in another way, which is an event of its own.
_OPEN = {"", "FAST IO DISALLOWED"}


def result_name(status: int) -> str:
    """The word for an NTSTATUS; its number where there is none."""
    return _NAMES.get(status, f"0x{status:x}")


def succeeded(result: str) -> bool:
    """Whether it is a success."""
    return result in _SUCCEEDED


def is_missing(result: str) -> bool:
    """Whether it says that there is nothing of that name."""
    return result in _MISSING


def is_open(result: str) -> bool:
    """Whether another event tells how it ended."""
    return result in _OPEN
