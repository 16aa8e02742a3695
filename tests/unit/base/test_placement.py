"""An image comes to its place whole or not at all, and nothing else is ever replaced."""

import errno
import os
from pathlib import Path

import pytest

from onejob.base.placement import check_destination, put_in_place, replace_in_two, workshop
from onejob.model.errors import BuildError, InputError, LacksError
from onejob.model.image import MANIFEST, ROOT


def image(folder: Path, content: str) -> Path:
    """A folder that looks like an image."""
    folder.mkdir()
    (folder / MANIFEST).write_text("{}")
    (folder / ROOT).write_text(content)
    return folder


def test_a_new_place(tmp_path: Path) -> None:
    with workshop(tmp_path / "new.onejob") as shop:
        put_in_place(image(shop / "image", "new"), tmp_path / "new.onejob")
    assert (tmp_path / "new.onejob" / ROOT).read_text() == "new"
    assert os.listdir(tmp_path) == ["new.onejob"]


def test_an_image_is_replaced(tmp_path: Path) -> None:
    destination = image(tmp_path / "it.onejob", "old")
    with workshop(destination) as shop:
        put_in_place(image(shop / "image", "new"), destination)
        assert (shop / "image" / ROOT).read_text() == "old"
    assert (destination / ROOT).read_text() == "new"
    assert os.listdir(tmp_path) == ["it.onejob"]


def test_without_an_exchange_the_old_one_comes_back_where_the_new_one_fails(tmp_path: Path) -> None:
    destination = image(tmp_path / "it.onejob", "old")
    replace_in_two(image(tmp_path / "image", "new"), destination)
    assert (destination / ROOT).read_text() == "new"
    (tmp_path / "old" / ROOT).unlink()
    (tmp_path / "old" / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError):
        replace_in_two(tmp_path / "nowhere", destination)
    assert (destination / ROOT).read_text() == "new"


def test_what_is_no_image_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(image(tmp_path / "real", "x"))
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "folder", "link", "dangling"):
        with pytest.raises(InputError, match=f"{name} exists and is no image"):
            check_destination(tmp_path / name)


def test_an_image_with_something_of_the_users_in_it_is_not_replaced(tmp_path: Path) -> None:
    (image(tmp_path / "it", "x") / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match=r"it holds more than an image: notes.txt"):
        check_destination(tmp_path / "it")


def test_a_place_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is no directory"):
        check_destination(tmp_path / "nowhere/it.onejob")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        BuildError("mksquashfs failed (1): Write failed because No space left on device"),
    ],
)
def test_a_full_disk_is_said_in_one_way(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(LacksError, match=r"no space left in .* for it.onejob"):
        fail_in_workshop(tmp_path, error)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), BuildError("bad plan"), SystemExit(1)])
def test_the_workshop_goes_whatever_happens(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fail_in_workshop(tmp_path, error)
    assert os.listdir(tmp_path) == []


def fail_in_workshop(folder: Path, error: BaseException) -> None:
    """Raise `error` in the middle of the work."""
    with workshop(folder / "it.onejob") as shop:
        (shop / "half").write_text("half")
        raise error
