"""Running instances are found by name, and those that were killed are not."""

import os
from pathlib import Path

import pytest

from onejob.model.errors import InputError
from onejob.model.jsonfile import to_json
from onejob.system import registry
from onejob.system.registry import Registered, find, registered, running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own: what runs on this machine is another matter."""
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "instances")
    return tmp_path / "instances"


def entry() -> Registered:
    return Registered(
        name="web",
        service="web",
        image="/srv/web.onejob",
        where="host",
        pid=os.getpid(),
        since=0,
        ports=("here:80",),
    )


def test_one_is_found_as_long_as_it_runs(folder: Path) -> None:
    assert running() == ()
    with registered(entry()) as known:
        assert running() == (known,)
        assert find("web") == known
        assert (folder / "web").stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_two_of_one_name_have_two_names() -> None:
    with registered(entry()) as one, registered(entry()) as two:
        assert [each.name for each in running()] == [one.name, two.name] == ["web", "web-2"]


def test_one_that_was_killed_makes_room_though_another_has_its_number(folder: Path) -> None:
    (folder / "web").mkdir(parents=True)
    (folder / "web/instance.json").write_text(to_json(entry()))
    assert running() == ()
    with registered(entry()) as known:
        assert known.name == "web"


def test_an_unknown_name_tells_the_known_ones() -> None:
    with pytest.raises(InputError) as nothing:
        find("web")
    assert nothing.value.hint == "start one with: onejob run IMAGE"
    with registered(entry()), pytest.raises(InputError) as other:
        find("mail")
    assert other.value.hint == "there are: web"


@pytest.mark.parametrize("rubbish", ["", "{", "[]", '{"name": "../x"}'])
def test_rubbish_is_passed_over(folder: Path, rubbish: str) -> None:
    (folder / "web").mkdir(parents=True)
    (folder / "web/instance.json").write_text(rubbish)
    assert running() == ()
    with registered(entry()) as known:
        assert known.name == "web-2"
