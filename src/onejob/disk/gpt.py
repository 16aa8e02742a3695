"""The GUID partition table: written twice, read with its checksums.

Source: the UEFI specification 2.10, chapter 5.3 (headers and entries), 5.2.3 (protective MBR).
"""

import struct
import uuid
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from onejob.disk.device import Device
from onejob.model.errors import InputError

BOOT_CODE = 440  # bytes of the first sector that are not a table
_SIGNATURE = b"EFI PART"
_REVISION = 0x10000
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_ENTRIES = 128
_TABLE = _ENTRIES * _ENTRY.size
_PROTECTIVE = struct.Struct("<B3sB3sII")


class Partition(NamedTuple):
    """`start` and `size` in bytes; `kind` and `identity` are GUIDs; `number` counts from 1."""

    number: int
    name: str
    kind: str
    start: int
    size: int
    identity: str


def table_bytes(sector: int) -> int:
    """What each copy of the table takes, at the beginning and at the end of the disk."""
    return 2 * sector + _TABLE  # the first copy has the protective MBR before it


def write_table(
    device: Device, places: Sequence[Partition], disk_id: uuid.UUID, boot_code: bytes
) -> None:
    """Both copies, and `boot_code` in the first sector; last the copy that makes it a disk."""
    sector = device.sector
    last = device.size // sector - 1
    entries = b"".join(_entry(place, sector) for place in places).ljust(_TABLE, b"\0")
    spare = _TABLE // sector
    span = 2 + spare, last - spare - 1
    backup = _header(last, 1, last - spare, span, disk_id, entries)
    device.write_at((last - spare) * sector, entries + backup.ljust(sector, b"\0"))
    device.write_at(0, _first_sector(boot_code, last).ljust(sector, b"\0"))
    device.flush()
    head = _header(1, last, 2, span, disk_id, entries).ljust(sector, b"\0")
    device.write_at(sector, head + entries)
    device.flush()


def wipe_table(device: Device) -> None:
    """No firmware and no kernel finds anything on the disk from now on."""
    length = table_bytes(device.sector)
    device.zero_at(0, length)
    device.zero_at(device.size - length, length)


def read_table(device: Device) -> tuple[Partition, ...]:
    """The partitions, by the first copy. InputError where there is none, or a damaged one."""
    sector = device.sector
    if device.size < 2 * table_bytes(sector):
        raise _refusal(device, "it is too small for a partition table")
    header = bytearray(device.read_at(sector, _HEADER.size))
    signature, revision, length, checksum, _, at, *_ = fields = _HEADER.unpack(header)
    table, count, each, entries_sum = fields[-4:]
    header[16:20] = bytes(4)  # the checksum is made without itself
    if signature != _SIGNATURE:
        raise _refusal(device, "it has no GUID partition table")
    if zlib.crc32(header) != checksum or (revision, length, at) != (_REVISION, _HEADER.size, 1):
        raise _refusal(device, "its partition table is damaged")
    if (table, count, each) != (2, _ENTRIES, _ENTRY.size):
        raise _refusal(device, "its partition table is another tool's")
    entries = device.read_at(table * sector, _TABLE)
    if zlib.crc32(entries) != entries_sum:
        raise _refusal(device, "its partition table is damaged")
    return _partitions(device, entries)


def _refusal(device: Device, what: str) -> InputError:
    return InputError(f"disk {device.path}: {what}", "give a disk that onejob has written")


def _entry(place: Partition, sector: int) -> bytes:
    first, last = place.start // sector, (place.start + place.size) // sector - 1
    kind, identity = uuid.UUID(place.kind).bytes_le, uuid.UUID(place.identity).bytes_le
    return _ENTRY.pack(kind, identity, first, last, 0, place.name.encode("utf-16-le"))


def _header(
    at: int, other: int, table: int, span: tuple[int, int], disk_id: uuid.UUID, entries: bytes
) -> bytes:
    def packed(checksum: int) -> bytes:
        return _HEADER.pack(
            _SIGNATURE, _REVISION, _HEADER.size, checksum, 0, at, other, *span, disk_id.bytes_le,
            table, _ENTRIES, _ENTRY.size, zlib.crc32(entries),
        )  # fmt: skip

    return packed(zlib.crc32(packed(0)))


def _first_sector(boot_code: bytes, last: int) -> bytes:
    """Boot code, and one partition over everything, for who does not know the table."""
    sectors = min(last, 0xFFFFFFFF)
    entry = _PROTECTIVE.pack(0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, sectors)
    return boot_code[:BOOT_CODE].ljust(446, b"\0") + entry.ljust(64, b"\0") + b"\x55\xaa"


def _partitions(device: Device, entries: bytes) -> tuple[Partition, ...]:
    found = []
    for number, fields in enumerate(_ENTRY.iter_unpack(entries), start=1):
        kind, identity, first, last, _, name = fields
        if not any(kind):
            continue
        if not 0 < first <= last < device.size // device.sector:
            raise _refusal(device, f"partition {number} lies outside of it")
        found.append(
            Partition(
                number, name.decode("utf-16-le", "replace").rstrip("\0"),
                str(uuid.UUID(bytes_le=kind)), first * device.sector,
                (last - first + 1) * device.sector, str(uuid.UUID(bytes_le=identity)),
            )
        )  # fmt: skip
    return tuple(found)
