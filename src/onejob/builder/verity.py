"""Append dm-verity's hash tree to a root image (its shape and check: onejob.base.verity)."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from onejob.base.verity import BLOCK, PER_BLOCK, digest_block, start_hash
from onejob.model.image import Verity, VerityHash

# The one of the two that the kernel of a plan has (components/dm-verity.toml).
ALGORITHM: VerityHash = "blake2b-256"


def append_tree(path: Path, algorithm: VerityHash = ALGORITHM) -> Verity:
    """Pad `path` to whole blocks and append its hash tree, as ``veritysetup format`` makes it.

    The salt is the hash of the padded data: same data, same bytes, and no two roots share one.
    """
    blocks = pad_to_block(path)
    with path.open("rb") as file:
        salt = hashlib.file_digest(file, "sha256").digest()
    return add_levels(path, blocks, salt, algorithm)


def pad_to_block(path: Path) -> int:
    """Zeros up to the next whole block; how many blocks there are, at least one."""
    blocks = max(1, -(-path.stat().st_size // BLOCK))
    os.truncate(path, blocks * BLOCK)
    return blocks


def add_levels(path: Path, data_blocks: int, salt: bytes, algorithm: VerityHash) -> Verity:
    """Append the levels, topmost first, for the `data_blocks` blocks that `path` holds."""
    salted = start_hash(algorithm, salt)
    with path.open("rb") as file:
        digests = [digest_block(salted, block) for block in read_blocks(file)]
    levels: list[list[bytes]] = []
    while len(digests) > 1:
        levels.append(list(pack_digests(digests)))
        digests = [digest_block(salted, block) for block in levels[-1]]
    with path.open("ab") as file:
        for level in reversed(levels):
            file.writelines(level)
    return Verity(
        algorithm=algorithm,
        data_blocks=data_blocks,
        hash_start=data_blocks,
        root_hash=digests[0].hex(),
        salt=salt.hex(),
    )


def read_blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The blocks of `file` to its end."""
    while block := file.read(BLOCK):
        yield block


def pack_digests(digests: list[bytes]) -> Iterable[bytes]:
    """Digests as hash blocks, the last one padded with zeros."""
    for start in range(0, len(digests), PER_BLOCK):
        yield b"".join(digests[start : start + PER_BLOCK]).ljust(BLOCK, b"\0")
