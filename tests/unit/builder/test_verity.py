"""The hash tree: as veritysetup makes it, and every changed byte is found."""

import shutil
import subprocess
from pathlib import Path

import pytest

from onejob.base.process import run_tool
from onejob.base.verity import BLOCK, check_root, kernel_argument, level_blocks
from onejob.builder.verity import append_tree
from onejob.model.errors import InputError
from onejob.model.image import Verity

VERITYSETUP = shutil.which("veritysetup", path="/usr/sbin:/sbin:/usr/bin")
# One block, less than one, the borders of one and of two levels of 128.
SIZES = [0, 1, 4096, 4097, 128 * 4096, 128 * 4096 + 1, 300 * 4096 + 7, (128 * 128 + 1) * 4096]


def data(size: int) -> bytes:
    """`size` bytes, no two blocks alike."""
    return b"".join(b"%16d" % number for number in range(-(-size // 16)))[:size]


@pytest.mark.skipif(VERITYSETUP is None, reason="cryptsetup-bin is not installed")
@pytest.mark.parametrize("size", SIZES)
def test_same_bytes_as_veritysetup(tmp_path: Path, size: int) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(data(size))
    verity = append_tree(ours, "sha256")  # Debian's veritysetup cannot do the other
    theirs.write_bytes(data(size))
    with theirs.open("r+b") as file:
        file.truncate(verity.hash_start * BLOCK)
    said = run_tool(
        [
            str(VERITYSETUP), "format", "--no-superblock", "--format=1", "--hash=sha256",
            "--data-block-size=4096", "--hash-block-size=4096",
            f"--data-blocks={verity.data_blocks}", f"--hash-offset={verity.hash_start * BLOCK}",
            f"--salt={verity.salt}", theirs, theirs,
        ],
        timeout=60,
    )  # fmt: skip
    assert f"Root hash:      \t{verity.root_hash}" in said
    assert filecmp(ours, theirs)


def test_each_digest_is_blake2b_of_salt_and_block(tmp_path: Path) -> None:
    root = tmp_path / "root.img"
    root.write_bytes(data(300 * BLOCK))
    verity = append_tree(root)
    blocks = [root.read_bytes()[at : at + BLOCK] for at in range(0, 304 * BLOCK, BLOCK)]
    hashed = [rfc_7693(bytes.fromhex(verity.salt) + block) for block in blocks]
    below = b"".join(hashed[:300]).ljust(3 * BLOCK, b"\0")
    assert b"".join(blocks[301:]) == below
    assert blocks[300] == b"".join(hashed[301:]).ljust(BLOCK, b"\0")
    assert (verity.algorithm, verity.root_hash) == ("blake2b-256", hashed[300].hex())


def rfc_7693(content: bytes) -> bytes:
    """BLAKE2b of 32 bytes by another program."""
    tool = ["b2sum", "--length=256", "--binary"]
    done = subprocess.run(tool, input=content, capture_output=True, timeout=60, check=True)
    return bytes.fromhex(done.stdout.split()[0].decode())


def filecmp(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes (not only the same size and time)."""
    return subprocess.run(["cmp", one, other], timeout=60).returncode == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_good_root_passes(tmp_path: Path, size: int) -> None:
    root = tmp_path / "root.img"
    root.write_bytes(data(size))
    verity = append_tree(root)
    check_root(root, verity)
    assert (
        root.stat().st_size == (verity.hash_start + sum(level_blocks(verity.data_blocks))) * BLOCK
    )


def test_the_salt_comes_from_the_data(tmp_path: Path) -> None:
    trees = []
    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(content)
        trees.append(append_tree(tmp_path / name))
    assert trees[0] == trees[1]
    assert trees[0].salt != trees[2].salt


@pytest.fixture
def root(tmp_path: Path) -> tuple[Path, Verity]:
    """A root of 300 data blocks, 3 hash blocks and one above them."""
    path = tmp_path / "root.img"
    path.write_bytes(data(300 * BLOCK))
    return path, append_tree(path)


def flip(path: Path, at: int) -> None:
    """Change one bit of the byte at `at`."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("at", "block"),
    [
        (0, "data block 0"),
        (200 * BLOCK + 99, "data block 200"),
        (300 * BLOCK - 1, "data block 299"),
        (300 * BLOCK, "hash block 300"),
        (303 * BLOCK + 5, "hash block 303"),
        (304 * BLOCK - 1, "hash block 303"),
    ],
)
def test_a_changed_bit_is_named(root: tuple[Path, Verity], at: int, block: str) -> None:
    path, verity = root
    flip(path, at)
    with pytest.raises(InputError, match=f"root.img: {block} is corrupted"):
        check_root(path, verity)


def test_the_first_of_two_is_named(root: tuple[Path, Verity]) -> None:
    path, verity = root
    flip(path, 250 * BLOCK)
    flip(path, 17 * BLOCK)
    with pytest.raises(InputError, match="data block 17 is corrupted"):
        check_root(path, verity)


@pytest.mark.parametrize("change", [-1, 1, -BLOCK])
def test_another_size_is_refused(root: tuple[Path, Verity], change: int) -> None:
    path, verity = root
    with path.open("r+b") as file:
        file.truncate(304 * BLOCK + change)
    with pytest.raises(InputError, match="bytes, must be 1245184"):
        check_root(path, verity)


def test_another_root_hash_is_refused(root: tuple[Path, Verity]) -> None:
    path, verity = root
    with pytest.raises(InputError, match="hash block 300 is corrupted"):
        check_root(path, verity.model_copy(update={"root_hash": "0" * 64}))


def test_a_missing_root_is_named(root: tuple[Path, Verity]) -> None:
    with pytest.raises(InputError, match="nowhere: No such file"):
        check_root(root[0].with_name("nowhere"), root[1])


def test_the_kernels_argument() -> None:
    verity = Verity(data_blocks=924, hash_start=924, root_hash="ab" * 32, salt="cd" * 32)
    assert kernel_argument(verity, "/dev/vda") == (
        'dm-mod.create="vroot,,,ro,0 7392 verity 1 /dev/vda /dev/vda 4096 4096 924 924 sha256 '
        f'{"ab" * 32} {"cd" * 32}"'
    )
    assert kernel_argument(verity.model_copy(update={"salt": ""}), "/dev/sda").endswith(' -"')
    other = verity.model_copy(update={"algorithm": "blake2b-256"})
    assert f" 924 blake2b-256 {'ab' * 32} " in kernel_argument(other, "/dev/vda")
