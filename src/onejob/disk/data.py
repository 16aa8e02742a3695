"""The data partition of a disk that had something else on it before.

mke2fs(8) on a sparse file leaves holes where zeros are meant. Of an old journal in such a place the
kernel could play blocks back; where the journal lies, the superblock says (the kernel's
Documentation/filesystems/ext4/super.rst, s_jnl_blocks; ifork.rst, extent tree).
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from onejob.disk.device import Device, put_file
from onejob.model.errors import BuildError

_SUPERBLOCK = 1024
_BLOCK_SIZE_AT, _JOURNAL_AT = 0x18, 0x10C
_HEADER = struct.Struct("<HHHHI")
_EXTENT = struct.Struct("<IHHI")
_MAGIC = 0xF30A


def put_journal(made: Path, device: Device, offset: int) -> None:
    """All of the journal of `made`, an ext4 whose data was copied to `device` at `offset`."""
    with made.open("rb") as file:
        file.seek(_SUPERBLOCK)
        superblock = file.read(1024)
        (shift,) = struct.unpack_from("<I", superblock, _BLOCK_SIZE_AT)
        block_bytes = 1024 << shift
        for first, count in _extents(superblock[_JOURNAL_AT : _JOURNAL_AT + 60], made):
            file.seek(first * block_bytes)
            put_file(device, offset + first * block_bytes, BytesIO(file.read(count * block_bytes)))


def _extents(root: bytes, made: Path) -> Iterator[tuple[int, int]]:
    """First block and number of blocks of each extent of the journal's inode."""
    magic, entries, most, depth, _ = _HEADER.unpack_from(root)
    if magic != _MAGIC or depth != 0 or entries > most:
        raise BuildError(f"{made}: its journal is not where mke2fs has put it so far")
    for number in range(entries):
        _, count, high, low = _EXTENT.unpack_from(root, _HEADER.size + number * _EXTENT.size)
        yield (high << 32) + low, count
