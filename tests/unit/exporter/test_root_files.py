"""Roots are read within limits: what is compressed can be far larger than it seems."""

import subprocess
from pathlib import Path

import pytest

from onejob.base import root_files
from onejob.base.root_files import root_entries
from onejob.model.errors import InputError
from onejob.model.image import ROOT, open_image
from some_images import make_image

SIZE = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image whose root has one file, SIZE bytes of nothing."""
    tree, root = tmp_path / "tree", tmp_path / "root"
    tree.mkdir()
    (tree / "nothing").write_bytes(bytes(SIZE))
    words = ["mksquashfs", tree, root, "-quiet", "-no-progress"]
    subprocess.run(words, check=True, timeout=60, capture_output=True)
    return make_image(tmp_path / "image", root.read_bytes())


def test_a_file_within_the_limits_is_read(folder: Path) -> None:
    assert (folder / ROOT).stat().st_size < SIZE / 10
    ((path, size),) = [(each.path, len(each.content)) for each in root_entries(open_image(folder))]
    assert (path, size) == ("/nothing", SIZE)


@pytest.mark.parametrize("limit", ["MOST_BYTES", "MOST_BYTES_OF_FILE"])
def test_more_is_refused(folder: Path, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_files, limit, SIZE // 2)
    with pytest.raises(InputError, match=f"more than {SIZE // 2} bytes"):
        list(root_entries(open_image(folder)))
