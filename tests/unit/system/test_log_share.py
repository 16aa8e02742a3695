"""The logs' share in a data folder: made where services have data, for one instance at a time."""

from pathlib import Path

import pytest

from built_plans import dimension, make_plan
from onejob.model.errors import InputError
from onejob.system.log_share import log_share

PLAN = make_plan(dimensions=(dimension("share", "logs", 16384),))


def test_a_new_folder_gets_a_file_system_with_all_its_room(tmp_path: Path) -> None:
    with log_share(PLAN, tmp_path) as share:
        assert share is not None
        assert share.folder == tmp_path / ".onejob-logs" and share.folder.is_dir()
        state = share.image.stat()
        assert state.st_size == 16384 * 1024 <= state.st_blocks * 512
        with (
            pytest.raises(InputError, match="another instance uses it"),
            log_share(PLAN, tmp_path),
        ):
            pytest.fail("it was given twice")


def test_an_earlier_one_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".onejob-owner").write_text("truth\n")
    (tmp_path / ".onejob-logs.img").write_bytes(b"logs")
    with log_share(PLAN, tmp_path) as share:
        assert share is not None and share.image.read_bytes() == b"logs"


def test_nothing_is_made_among_files_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with log_share(PLAN, tmp_path) as share:
        assert share is None
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("name", [".onejob-logs", ".onejob-logs.img"])
def test_a_link_in_its_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / ".onejob-owner").write_text("truth\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a link is in the place of its logs"):
        log_share(PLAN, tmp_path).__enter__()


def test_a_plan_without_one_needs_nothing(tmp_path: Path) -> None:
    with log_share(make_plan(), tmp_path) as share:
        assert share is None
    assert list(tmp_path.iterdir()) == []
