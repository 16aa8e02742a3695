"""The stock guest: by what it is kept, of what its disk is made, how it is booted."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

import small_world
from onejob.base.process import find_tool
from onejob.bench.debootstrap import debootstrap_words
from onejob.bench.sources import Source
from onejob.bench.stock import StockGuest, make_disk, stock_key, take_kernel, tree_bytes
from onejob.bench.stock_run import stock_words
from onejob.model.errors import BuildError
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.system.guest import machine_words
from onejob.system.network import Publish

SOURCE = Source("http://mirror.example/debian", "bookworm", ("main", "contrib"), "/k.gpg")


def test_it_is_made_from_the_source_that_apt_has() -> None:
    words = debootstrap_words("/sbin/debootstrap", SOURCE, ("linux-image-amd64", "x"), Path("/r"))
    assert words == [
        "/sbin/debootstrap", "--variant=minbase", "--include=linux-image-amd64,x",
        "--components=main,contrib", "--keyring=/k.gpg",
        "bookworm", "/r", "http://mirror.example/debian",
    ]  # fmt: skip
    unsigned = debootstrap_words("d", SOURCE._replace(keyring=""), ("x",), Path("/r"))
    assert not [word for word in unsigned if word.startswith("--keyring")]


def test_it_is_kept_by_what_it_is_made_from() -> None:
    workload = parse_toml(small_world.WORKLOAD, Workload, "w")
    key = stock_key(SOURCE, ("a", "b"), workload)
    assert key == stock_key(SOURCE, ("b", "a"), workload)
    trixie = stock_key(SOURCE._replace(suite="trixie"), ("a", "b"), workload)
    other = stock_key(SOURCE, ("a", "b"), workload.model_copy(update={"user": "nobody"}))
    assert len({key, stock_key(SOURCE, ("a",), workload), trixie, other}) == 4


def test_its_disk_is_never_written_and_its_machine_is_a_pc() -> None:
    guest = StockGuest(Path("/cache/a,b"))
    forward = Publish("127.0.0.1", 8080, 80)
    words = stock_words(guest, "tcg", 1, [forward])
    assert words[: len(machine_words("qemu-q35", "tcg"))] == machine_words("qemu-q35", "tcg")
    pairs = dict(pairwise(words))
    assert pairs["-drive"] == "id=root,if=none,format=raw,snapshot=on,file=/cache/a,,b/root.img"
    assert pairs["-kernel"] == "/cache/a,b/vmlinuz" and pairs["-initrd"] == "/cache/a,b/initrd.img"
    assert pairs["-smp"] == "1" and "root=/dev/vda" in pairs["-append"]
    assert "hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80" in pairs["-netdev"]


def test_it_has_exactly_one_kernel(tmp_path: Path) -> None:
    guest, boot = StockGuest(tmp_path / "guest"), tmp_path / "root/boot"
    guest.folder.mkdir()
    boot.mkdir(parents=True)
    (boot / "vmlinuz-6.1").write_bytes(b"kernel")
    with pytest.raises(BuildError, match=r"0 files boot/initrd.img-\*"):
        take_kernel(boot.parent, guest)
    (boot / "initrd.img-6.1").write_bytes(b"initrd")
    take_kernel(boot.parent, guest)
    assert (guest.kernel.read_bytes(), guest.initrd.read_bytes()) == (b"kernel", b"initrd")
    (boot / "vmlinuz-6.2").write_bytes(b"kernel")
    with pytest.raises(BuildError, match="2 files"):
        take_kernel(boot.parent, guest)


def test_its_disk_holds_the_files_without_being_mounted(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "root.img"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hostname").write_text("stock\n")
    (root / "link").symlink_to("etc")
    assert tree_bytes(root) == 3 * (4096 + 512)
    make_disk(find_tool("mkfs.ext4", "e2fsprogs"), root, disk)
    words = [find_tool("debugfs", "e2fsprogs"), "-R", "cat /etc/hostname", str(disk)]
    shown = subprocess.run(words, capture_output=True, check=True, timeout=60)
    assert shown.stdout == b"stock\n"
