"""dm-verity: the shape of its hash tree, the check of a root image, the kernel's argument.

The format is version 1 without superblock (the kernel's
Documentation/admin-guide/device-mapper/verity.rst): every digest is of salt and block; level 0
holds the digests of the data blocks, each further level those of the one below, and the levels
lie on the device from the topmost to level 0.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, Self

from onejob.model.errors import InputError
from onejob.model.image import Verity, VerityHash

BLOCK = 4096
DIGEST = 32
PER_BLOCK = BLOCK // DIGEST
SECTORS_PER_BLOCK = BLOCK // 512


class Hash(Protocol):
    """What hashlib's hashes have in common."""

    def copy(self) -> Self: ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


def level_blocks(data_blocks: int) -> tuple[int, ...]:
    """Blocks in each level, level 0 first; none where a single data block is its own top."""
    counts: list[int] = []
    below = data_blocks
    while below > 1:
        below = -(-below // PER_BLOCK)
        counts.append(below)
    return tuple(counts)


def start_hash(algorithm: VerityHash, salt: bytes) -> Hash:
    """A hash that has seen the salt."""
    if algorithm == "sha256":
        return hashlib.sha256(salt)
    return hashlib.blake2b(salt, digest_size=DIGEST)


def digest_block(salted: Hash, block: bytes) -> bytes:
    """The digest of `block`, given a hash that has seen the salt."""
    hash_now = salted.copy()
    hash_now.update(block)
    return hash_now.digest()


def kernel_argument(
    verity: Verity, device: str, before: Sequence[str] = (), after: Sequence[str] = ()
) -> str:
    """The kernel's ``dm-mod.create=`` word that makes a checked, read-only device of `device`.

    It is /dev/dm-N, with N devices `before` it; those and the ones `after` it in the same form.
    Source: the kernel's Documentation/admin-guide/device-mapper/dm-init.rst. It holds blanks, so
    it is quoted as the kernel's command line wants it.
    """
    sectors = verity.data_blocks * SECTORS_PER_BLOCK
    sizes = f"{verity.block_size} {verity.block_size} {verity.data_blocks} {verity.hash_start}"
    tree = f"{verity.algorithm} {verity.root_hash} {verity.salt or '-'}"
    table = f"verity 1 {device} {device} {sizes} {tree}"
    devices = ";".join((*before, f"vroot,,,ro,0 {sectors} {table}", *after))
    return f'dm-mod.create="{devices}"'


def check_root(path: Path, verity: Verity) -> None:
    """Read the whole of `path`; InputError names the first block that is not what was built."""
    try:
        with path.open("rb") as file:
            check_root_of(file, str(path), verity)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def check_root_of(file: IO[bytes], name: str, verity: Verity) -> None:
    """Read the whole of `file`; InputError names the first block that is not what was built."""
    _Check(file, name, verity).run()


def root_bytes(verity: Verity) -> int:
    """How large a root image with its hash tree is."""
    return (verity.hash_start + sum(level_blocks(verity.data_blocks))) * BLOCK


@dataclass(frozen=True)
class _Check:
    """One reading of a root image, from its root hash downwards."""

    file: IO[bytes]
    name: str
    verity: Verity

    def run(self) -> None:
        levels = level_blocks(self.verity.data_blocks)
        self._size(root_bytes(self.verity))
        digests = iter([bytes.fromhex(self.verity.root_hash)])
        at = self.verity.hash_start
        for count in reversed(levels):
            level = b"".join(self._blocks("hash block", at, count, digests))
            digests = (level[i : i + DIGEST] for i in range(0, len(level), DIGEST))
            at += count
        for _ in self._blocks("data block", 0, self.verity.data_blocks, digests):
            pass

    def _size(self, wanted: int) -> None:
        size = self.file.seek(0, 2)
        if size != wanted:
            raise self._corrupt(f"{size} bytes, must be {wanted}")

    def _blocks(
        self, what: str, first: int, count: int, digests: Iterator[bytes]
    ) -> Iterator[bytes]:
        """`count` blocks from block `first` on, each compared with the next of `digests`."""
        salted = start_hash(self.verity.algorithm, bytes.fromhex(self.verity.salt))
        self.file.seek(first * BLOCK)
        for number in range(first, first + count):
            block = self.file.read(BLOCK)
            if digest_block(salted, block) != next(digests):
                raise self._corrupt(f"{what} {number} is corrupted")
            yield block

    def _corrupt(self, what: str) -> InputError:
        return InputError(f"{self.name}: {what}", "build the image again, or copy it again")
