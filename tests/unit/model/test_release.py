"""The history of an image or profile: its form, and what is refused in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onejob.model.errors import InputError
from onejob.model.image import Content
from onejob.model.jsonfile import parse_json, to_json
from onejob.model.release import History, Release

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
NAMES = st.from_regex(r"\A[a-z][a-z0-9.]{0,40}\Z")
CONTENTS = st.builds(Content, name=NAMES, size=st.integers(0, 1 << 50), sha256=DIGESTS)
PARTS = st.lists(CONTENTS, min_size=1, max_size=5, unique_by=lambda part: part.name).map(tuple)
VERSIONS = st.sets(st.integers(1, 1000), min_size=1, max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> History:
    releases = tuple(
        Release(version=version, pushed="2026-01-02T03:04:05Z", parts=draw(PARTS))
        for version in sorted(draw(VERSIONS))
    )
    name = draw(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,62}\Z"))
    kind = draw(st.sampled_from(("image", "profile")))
    return History(kind=kind, name=name, releases=releases)


@given(histories())
def test_what_is_written_is_read(history: History) -> None:
    assert parse_json(to_json(history), History, "history") == history


def history(**changes: object) -> str:
    part = {"name": "profile.xml", "size": 7, "sha256": "0" * 64}
    release = {"version": 3, "pushed": "2026-01-02T03:04:05Z", "parts": [part]}
    values = {"format": 1, "kind": "profile", "name": "keeper", "releases": [release]}
    for path, value in changes.items():
        target = {"part": part, "release": release}.get(path.partition("_")[0], values)
        target[path.partition("_")[2] or path] = value  # type: ignore[assignment]
    return json.dumps(values)


def test_a_sound_one_is_read() -> None:
    read = parse_json(history(), History, "history")
    assert read.target == "keeper.profile.xml"
    assert read.newest.version == 3 and read.newest.bytes == 7
    assert read.release(None) == read.release(3) == read.newest


@pytest.mark.parametrize(
    "changes",
    [
        {"part_name": "../profile.xml"},
        {"part_name": "/etc/passwd"},
        {"part_name": "a/b"},
        {"part_name": ".."},
        {"part_name": "profile.xml\n"},
        {"part_name": "a\0"},
        {"part_size": -1},
        {"part_size": 1.5},
        {"part_sha256": "0" * 63},
        {"part_sha256": "../" + "0" * 61},
        {"release_version": 0},
        {"release_parts": []},
        {"release_pushed": "yesterday"},
        {"releases": []},
        {"name": "../keeper"},
        {"name": "Keeper"},
        {"kind": "system"},
        {"format": 2},
        {"more": 1},
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match="history: "):
        parse_json(history(**changes), History, "history")


def test_two_parts_of_one_name_and_versions_that_do_not_ascend_are_refused() -> None:
    values = json.loads(history())
    values["releases"][0]["parts"] *= 2
    with pytest.raises(InputError, match="two parts have the same name"):
        parse_json(json.dumps(values), History, "history")
    values = json.loads(history())
    values["releases"] *= 2
    with pytest.raises(InputError, match="versions do not ascend"):
        parse_json(json.dumps(values), History, "history")


def test_a_version_that_is_not_there_or_of_another_kind_is_named() -> None:
    with pytest.raises(InputError, match=r"keeper\.profile\.xml has no version 2") as caught:
        parse_json(history(), History, "history").release(2)
    assert caught.value.hint == "it has 3 to 3"
    with pytest.raises(InputError, match=r"keeper\.onejob: version 3 is no image"):
        parse_json(history(kind="image"), History, "history").release(None)
    with pytest.raises(InputError, match="version 3 is no profile"):
        parse_json(history(part_name="manifest.json"), History, "history").release(None)
