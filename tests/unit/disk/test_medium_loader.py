"""The loader of a medium: the same bytes each time, wherever temporary files lie."""

from pathlib import Path

import pytest

from onejob.disk.grub import make_medium_loader

ELSEWHERE = Path("/dev/shm")


def test_the_loader_is_the_same_from_another_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ELSEWHERE.stat().st_dev != tmp_path.stat().st_dev
    monkeypatch.setattr("tempfile.tempdir", str(ELSEWHERE))
    make_medium_loader(("ttyS0,115200", "tty0"), tmp_path / "one")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_medium_loader(("ttyS0,115200", "tty0"), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    make_medium_loader(("tty0",), tmp_path / "three")
    assert (tmp_path / "three").read_bytes() != (tmp_path / "two").read_bytes()
