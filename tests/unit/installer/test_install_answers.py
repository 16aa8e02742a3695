"""Answers of a medium: what was said otherwise goes before, and nothing is installed twice."""

from pathlib import Path

import pytest

from onejob.installer.find import Found, with_media
from onejob.installer.medium import Medium
from onejob.installer.order import as_answers
from onejob.model.answers import Answers


@pytest.mark.parametrize(
    ("line", "given", "again"),
    [
        ("", {}, False),
        ("again = true", {}, True),
        ("", {"again": True}, True),
        ("again = true", {"again": False}, False),
    ],
)
def test_a_medium_that_stays_in_does_not_install_at_each_start(
    tmp_path: Path, line: str, given: dict[str, bool], again: bool
) -> None:
    (tmp_path / "answers.toml").write_text(f'service = "web"\n[disk]\nserial = "X1"\n{line}\n')
    found = Found((Medium("sr0", "sr0", tmp_path),))
    answers = with_media(as_answers({"disk": {**given, "erase": True}}), found)
    assert answers.service == "web"
    disk = answers.disk
    assert (disk.serial, disk.erase, disk.again) == ("X1", True, again)


def test_who_asks_for_an_installation_gets_it_again() -> None:
    assert with_media(Answers(), Found()).disk.again is None
