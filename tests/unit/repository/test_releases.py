"""What is pushed comes back as it was: versions, parts stored once, keys, trust, renewal."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from onejob.base.progress import Quiet
from onejob.base.verity import check_root
from onejob.model.errors import InputError, LacksError
from onejob.model.image import open_image
from onejob.model.profile_xml import load_profile
from onejob.repository.keys import PUSHED, TRUST, generate_working_keys, read_kept, stage_keys
from onejob.repository.push import create, describe, push
from onejob.repository.roles import load_roles, load_root, now
from onejob.repository.store import open_store
from some_repositories import IMAGE, PROFILE, Place, content, files_of, image, make_place, served


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


@pytest.mark.parametrize("by_http", [False, True])
def test_an_image_and_a_profile_come_back_as_they_were(place: Place, by_http: bool) -> None:
    with served(files_of(place.repository)) as address:
        source = address if by_http else ""
        done = place.pull(IMAGE, source=source)
        place.pull(PROFILE, source=source)
    assert done.release.version == 1 and done.fetched == done.release.bytes
    assert content(place.got / IMAGE) == content(place.folder / "one")
    opened = open_image(place.got / IMAGE)
    check_root(opened.root, opened.manifest.verity)
    assert opened.root.stat().st_mode & 0o777 == 0o600
    assert load_profile(place.got / PROFILE).name == "keeper"
    assert sorted(os.listdir(place.got)) == [IMAGE, PROFILE]


def test_the_newest_is_pulled_and_older_ones_by_their_version(place: Place) -> None:
    done = place.push(image(place, "two"))
    assert done.history and done.history.newest.version == 2
    assert place.pull().release.version == 2
    assert content(place.got / IMAGE) == content(place.folder / "two")
    assert place.pull(version=1).release.version == 1
    assert content(place.got / IMAGE) == content(place.folder / "one")
    with pytest.raises(InputError, match="has no version 3"):
        place.pull(version=3)


def test_parts_that_did_not_change_are_stored_and_fetched_once(place: Place) -> None:
    place.pull()
    before = content(place.repository / "targets")
    done = place.push(image(place, "two"))
    new = content(place.repository / "targets").keys() - before.keys()
    assert sorted(name.split(".", 1)[1] for name in new) == [IMAGE, "manifest.json", "root.img"]
    sizes = {part.name: part.size for part in done.history.newest.parts} if done.history else {}
    assert done.stored == sizes["root.img"] + sizes["manifest.json"]
    assert place.pull().fetched == done.stored
    assert place.pull().fetched == 0


def test_the_same_again_is_no_new_version(place: Place) -> None:
    done = place.push(place.folder / "one")
    assert not done.changed and done.stored == 0
    assert done.history and done.history.newest.version == 1


def test_a_part_that_the_server_lost_is_stored_again(place: Place) -> None:
    before = content(place.repository / "targets")
    place.entry(".root.img").write_bytes(b"short")
    place.entry(".plan.json").unlink()
    assert not place.push(place.folder / "one").changed
    assert content(place.repository / "targets") == before


def test_a_name_without_its_end(place: Place) -> None:
    with pytest.raises(InputError, match=r"can be keeper\.onejob or keeper\.profile\.xml"):
        place.pull("keeper")
    with pytest.raises(InputError, match="nothing is named 'nginx'"):
        place.pull("nginx")
    alone = Place(place.folder / "alone")
    alone.folder.mkdir()
    alone.got.mkdir()
    create(alone.repository, alone.keys, 30)
    alone.push(place.folder / "one")
    assert alone.pull("keeper").target == IMAGE


def test_keys_are_the_owners_alone_and_nowhere_in_the_repository(place: Place) -> None:
    keys = sorted(path.name for path in place.keys.glob("*.key"))
    assert keys == ["root.key", "targets.key", "timestamp.key"]
    assert {(place.keys / name).stat().st_mode & 0o777 for name in keys} == {0o600}
    assert place.keys.stat().st_mode & 0o777 == 0o700
    secrets = [(place.keys / name).read_bytes() for name in keys]
    public = [*content(place.repository).values(), (place.keys / TRUST).read_bytes()]
    assert all(b"PRIVATE" in secret for secret in secrets)
    assert not [data for data in public if b"PRIVATE" in data]


def test_keys_that_others_can_read_sign_nothing(place: Place) -> None:
    (place.keys / "targets.key").chmod(0o640)
    with pytest.raises(InputError, match=r"targets\.key can be read by others"):
        place.push(None)


@pytest.mark.parametrize("where", ["repository", "repository/keys", "."])
def test_keys_and_repository_lie_apart(tmp_path: Path, where: str) -> None:
    with pytest.raises(InputError, match="lie in each other"):
        create(tmp_path / "repository", tmp_path / where, 30)
    assert os.listdir(tmp_path) == []


def test_a_repository_is_made_once_and_only_where_nothing_is(place: Place) -> None:
    with pytest.raises(InputError, match="is not empty"):
        create(place.repository, place.folder / "more", 30)
    with pytest.raises(InputError, match="keys: File exists"):
        create(place.folder / "other", place.keys, 30)
    assert not (place.folder / "more").exists()
    assert not (place.folder / "other").exists()


def test_keys_of_another_repository_sign_nothing(place: Place) -> None:
    create(place.folder / "other", place.folder / "keys2", 30)
    before = content(place.repository)
    shutil.copy(place.folder / "keys2/timestamp.key", place.keys)
    with pytest.raises(InputError, match=r"timestamp\.key is not a key of this repository"):
        place.push(None)
    assert content(place.repository) == before


def test_a_folder_with_the_timestamps_key_alone_renews_and_publishes_nothing(place: Place) -> None:
    (place.keys / "root.key").unlink()
    (place.keys / "targets.key").unlink()
    place.push(None, days=7)
    with pytest.raises(InputError, match=r"targets\.key is not in the folder of keys"):
        place.push(image(place, "two"))
    assert place.pull().release.version == 1


def test_what_is_half_over_is_signed_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    later = now() + timedelta(days=200)
    place.push(None)
    assert versions(place) == (1, 3, 3, 4)
    monkeypatch.setattr("onejob.repository.roles.now", lambda: later)
    place.push(None)
    assert versions(place) == (2, 4, 4, 5)
    place.push(None)
    assert versions(place) == (2, 4, 4, 6)


def versions(place: Place) -> tuple[int, int, int, int]:
    """Of root, targets, snapshot and timestamp."""
    trust = (place.keys / TRUST).read_bytes()
    with open_store(place.repository) as store:
        roles = load_roles(store.metadata, load_root(store.metadata, trust), b"")
    return (
        roles.root.signed.version,
        roles.targets.signed.version,
        roles.snapshot.signed.version,
        roles.timestamp.signed.version,
    )


def test_the_owner_is_told_before_the_long_lived_expires(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.push(None).notes == ()
    (place.keys / "root.key").unlink()
    monkeypatch.setattr("onejob.repository.push.now", lambda: now() + timedelta(days=330))
    notes = place.push(None).notes
    assert any(note.startswith("root expires on ") and "root.key" in note for note in notes)


def test_a_push_that_was_cut_short_changes_nothing_and_can_be_done_again(place: Place) -> None:
    """The state just before its last step, which replaces the timestamp."""
    second = image(place, "two")
    last = (place.repository / "metadata/timestamp.json", place.keys / PUSHED)
    before = [path.read_bytes() for path in last]
    place.push(second)
    for path, data in zip(last, before, strict=True):
        path.write_bytes(data)
    assert place.pull().release.version == 1
    place.push(image(place, "three"))
    assert place.pull().release.version == 2
    assert content(place.got / IMAGE) == content(place.folder / "three")


@pytest.mark.parametrize("timestamp_too", [False, True])
def test_new_keys_that_were_cut_short_are_settled_by_the_next_push(
    place: Place, timestamp_too: bool
) -> None:
    """After its last step but one, or two: the new root is there, the keys lie beside the old."""
    late = [place.keys / name for name in ("targets.key", "timestamp.key", TRUST, PUSHED)]
    late += [] if timestamp_too else [place.repository / "metadata/timestamp.json"]
    before = {path: path.read_bytes() for path in late}
    push(None, place.repository, place.keys, days=30, progress=Quiet(), new_keys=True)
    for path in late[:2]:
        shutil.copy(path, path.with_name(f"{path.name}.new"))
    for path, data in before.items():
        path.write_bytes(data)
    place.push(image(place, "two"))
    assert sorted(path.name for path in place.keys.iterdir()) == [
        "pushed.json", "root.json", "root.key", "targets.key", "timestamp.key",
    ]  # fmt: skip
    assert all(path.read_bytes() != before[path] for path in late)
    assert place.pull().release.version == 2


def test_new_keys_that_nothing_names_are_dropped(place: Place) -> None:
    old = {path: path.read_bytes() for path in place.keys.glob("*.key")}
    stage_keys(place.keys, generate_working_keys())
    place.push(None)
    assert {path: path.read_bytes() for path in place.keys.glob("*.key*")} == old


def test_an_image_that_is_not_whole_is_not_pushed(place: Place) -> None:
    broken = image(place, "broken")
    with (broken / "root.img").open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\0\0\0")
    with pytest.raises(InputError, match="data block 1 is corrupted"):
        describe(broken)
    profile = place.folder / "no.xml"
    profile.write_text("<java/>")
    with pytest.raises(InputError):
        describe(profile)


def test_trust_is_given_once_and_never_taken_from_the_repository(place: Place) -> None:
    place.state.mkdir()
    with pytest.raises(InputError, match="was never trusted on this machine") as caught:
        place.pull()
    assert caught.value.hint.startswith("give --trust root.json")
    place.pull(trust=place.keys / TRUST)
    place.pull()
    place.pull(trust=place.keys / TRUST)


def test_another_root_than_the_trusted_one_is_refused(place: Place) -> None:
    place.pull()
    create(place.folder / "other", place.folder / "keys2", 30)
    with pytest.raises(InputError, match="is trusted with another root") as caught:
        place.pull(trust=place.folder / "keys2" / TRUST)
    assert "rm -r" in caught.value.hint
    with pytest.raises(InputError, match="is no root of a repository"):
        place.pull(trust=place.repository / "metadata/timestamp.json")


def test_who_gives_the_root_of_a_repository_that_was_made_anew_is_told_how(place: Place) -> None:
    place.pull()
    shutil.rmtree(place.repository)
    shutil.rmtree(place.keys)
    create(place.repository, place.keys, 30)
    place.push(place.folder / "one")
    with pytest.raises(InputError, match="is not signed by who is trusted"):
        place.pull()
    with pytest.raises(InputError, match="is trusted with another root") as caught:
        place.pull(trust=place.keys / TRUST)
    shutil.rmtree(caught.value.hint.partition("rm -r ")[2])
    place.pull(trust=place.keys / TRUST)


def test_a_first_trust_that_fails_is_not_remembered(place: Place) -> None:
    create(place.folder / "other", place.folder / "keys2", 30)
    with pytest.raises(InputError, match="is not signed by who is trusted"):
        place.pull(trust=place.folder / "keys2" / TRUST)
    assert os.listdir(place.state / "repositories") == []
    place.pull(trust=place.keys / TRUST)


def test_a_root_that_was_renewed_is_followed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    old_root = (place.keys / TRUST).read_bytes()
    place.pull()
    with monkeypatch.context() as patch:
        patch.setattr("onejob.repository.push.is_ageing", lambda signed: signed.type == "root")
        place.push(None)
    assert versions(place)[0] == 2
    assert (place.keys / TRUST).read_bytes() != old_root
    place.pull()
    place.pull(trust=place.keys / TRUST)
    (place.keys / TRUST).write_bytes(old_root)  # as in another owner's folder of the same keys
    place.push(None)
    assert read_kept(place.keys, PUSHED)


def test_only_an_image_is_replaced(place: Place) -> None:
    (place.got / IMAGE).mkdir()
    (place.got / IMAGE / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and is no image"):
        place.pull()
    assert content(place.got) == {f"{IMAGE}/notes.txt": b"precious"}


def test_no_room_is_said_before_anything_is_fetched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(place.folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(LacksError, match="no space left"):
        place.pull()
    assert os.listdir(place.got) == []


@pytest.mark.parametrize(
    "source",
    [
        "ftp://h/x", "file:///etc", "http://", "http://h:x/", "http://u:p@h/", "http://h/?a",
        "http://h/#a", "http://h:0/", "nowhere", "/etc",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_repository(place: Place, source: str) -> None:
    with pytest.raises(InputError, match=r"is no address of|is not a repository"):
        place.pull(source=source)


def test_a_server_that_is_not_there_is_not_called_slow(place: Place) -> None:
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1 cannot be read: .*Connection refused"):
        place.pull(source="http://127.0.0.1:1", trust=place.keys / TRUST)
