"""Data disks of guests: one instance at a time, and a sentence where it cannot be used."""

import os
from pathlib import Path

import pytest

from onejob.base.data_disk import locked_disk
from onejob.model.errors import InputError


def test_a_disk_is_used_by_one_instance_at_a_time(tmp_path: Path) -> None:
    disk = tmp_path / "data.img"
    disk.touch()
    with locked_disk(disk):
        with (
            pytest.raises(InputError, match="another instance uses it") as caught,
            locked_disk(disk),
        ):
            pytest.fail("it was given twice")
        assert caught.value.hint == "stop that one, or give another disk"
    with locked_disk(disk):
        pass  # the lock went with its holder


@pytest.mark.parametrize("what", ["folder", "pipe", "link to nothing"])
def test_what_is_no_disk_is_refused(tmp_path: Path, what: str) -> None:
    disk = tmp_path / "data.img"
    if what == "folder":
        disk.mkdir()
    elif what == "pipe":
        os.mkfifo(disk)
    else:
        disk.symlink_to(tmp_path / "none")
    with pytest.raises(InputError, match=f"^data disk {disk}") as caught, locked_disk(disk):
        pytest.fail("it was taken")
    assert caught.value.hint
