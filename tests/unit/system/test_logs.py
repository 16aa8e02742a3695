"""The ring of last words, read by whoever cannot trust what wrote it."""

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onejob.model.errors import InputError
from onejob.system.logs import parse_ring, read_log

SIZE, BLOCK = 1 << 20, 4096
MAGIC = b"OJRING\x001"


def ring(*blocks: tuple[int, int, bytes]) -> bytes:
    """A ring with these blocks (number, time, text), each where its number puts it."""
    content = bytearray(SIZE)
    for number, since, text in blocks:
        block = MAGIC + struct.pack("<QQ", number, since) + text
        place = number % 256 * BLOCK
        content[place : place + len(block)] = block
    return bytes(content)


def test_blocks_come_in_order_over_the_end() -> None:
    content = ring((511, 7, b"old "), (512, 8, b"middle "), (513, 9, b"new"))
    assert [(p.since, p.text) for p in parse_ring(content, "x")] == [
        (7, b"old "), (8, b"middle "), (9, b"new"),
    ]  # fmt: skip


@given(
    st.lists(st.binary(min_size=1, max_size=60).map(lambda text: text + b"."), max_size=300),
    st.integers(1, 2**40),
)
def test_what_was_written_is_read(texts: list[bytes], first: int) -> None:
    content = ring(*((first + number, 0, text) for number, text in enumerate(texts)))
    assert [piece.text for piece in parse_ring(content, "x")] == texts[-256:]


@given(st.binary(max_size=3000))
def test_rubbish_is_read_without_harm(rubbish: bytes) -> None:
    content = (MAGIC + rubbish).ljust(BLOCK, b"\xff")[:BLOCK] * 256
    assert len(parse_ring(content, "x")) == 256


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE + 1])
def test_another_size_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"it has {size} bytes"):
        parse_ring(bytes(size), "x")


@pytest.mark.parametrize("planted", ["link", "folder link", "pipe", "folder", "nothing"])
def test_what_is_no_file_is_not_followed(tmp_path: Path, planted: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "log").write_bytes(ring((1, 1, b"secret")))
    data = tmp_path / "data"
    (data / ".onejob").mkdir(parents=True)
    log = data / ".onejob/log"
    if planted == "link":
        log.symlink_to(secret / "log")
    elif planted == "pipe":
        os.mkfifo(log)
    elif planted == "folder":
        log.mkdir()
    elif planted == "folder link":
        log.parent.rmdir()
        log.parent.symlink_to(secret)
    with pytest.raises(InputError, match="log of"):
        read_log(data)


def test_a_disk_without_words_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"\0" * 4096)
    with pytest.raises(InputError, match=r"log of .*disk\.img"):
        read_log(tmp_path / "disk.img")
    with pytest.raises(InputError, match="neither a running instance, a folder nor a disk image"):
        read_log(tmp_path / "none")


@pytest.mark.root
def test_a_log_that_pretends_to_be_huge_is_read_in_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "tree/.onejob").mkdir(parents=True)
    with (tmp_path / "tree/.onejob/log").open("wb") as file:
        file.truncate(1 << 40)  # all hole
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(1 << 24)
    words = ["mkfs.ext4", "-q", "-d", tmp_path / "tree", disk]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    disk.chmod(0o600)
    with pytest.raises(InputError, match="bytes, and not 1048576"):
        read_log(disk)
