"""A kernel package is read as depmod reads its modules, without installing it."""

import lzma
import subprocess
from pathlib import Path

import pytest

from onejob.builder.module_package import Module, read_modules
from onejob.model.errors import BuildError

CONTROL = """\
Package: linux-image-test
Version: 6.12.1-1
Architecture: amd64
Maintainer: nobody <nobody@localhost>
Description: a kernel with three modules
"""
BUILT_IN = (
    "i8042.file=drivers/input/serio/i8042\0i8042.alias=platform:i8042\0"
    "loop.file=drivers/block/loop\0loop.license=GPL\0"
)


def _package(tmp_path: Path, modules: dict[str, bytes]) -> Path:
    """A .deb with these modules below kernel/, and two that are built in."""
    root = tmp_path / "root"
    folder = root / "lib/modules/6.12.1-test"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(CONTROL)
    for name, content in modules.items():
        path = folder / "kernel" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modules.builtin.modinfo").write_text(BUILT_IN)
    package = tmp_path / "test.deb"
    command = ["dpkg-deb", "--root-owner-group", "--build", str(root), str(package)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return package


def test_each_module_that_drives_a_device_is_found(tmp_path: Path) -> None:
    card = b"\x7fELF\0\0license=GPL\0alias=pci:v00008086d000010D3sv*\0firmware=card/a.bin\0\1"
    modules = {
        "drivers/net/ethernet/x/a-card.ko.xz": lzma.compress(card),
        "fs/some/some.ko": b"\0alias=fs-some\0license=GPL\0",
    }
    found = read_modules(_package(tmp_path, modules), lambda part: None)
    assert found == (
        Module("drivers/input/serio/i8042", ("platform:i8042",), ()),
        Module("drivers/net/ethernet/x/a-card", ("pci:v00008086d000010D3sv*",), ("card/a.bin",)),
    )
    assert (found[1].name, found[1].folder) == ("a_card", "drivers/net/ethernet/x")


def test_a_damaged_package_is_named(tmp_path: Path) -> None:
    whole = _package(tmp_path, {"drivers/a.ko": bytes(50_000)})
    broken = tmp_path / "broken.deb"
    broken.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(BuildError, match=r"broken\.deb"):
        read_modules(broken, lambda part: None)
