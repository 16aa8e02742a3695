"""Attacks on whoever pulls from a repository, or pushes to it: refused, and nothing is written."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tuf.api.metadata import TargetFile

from onejob.base.progress import Quiet
from onejob.model.errors import InputError, OnejobError
from onejob.repository.keys import PUSHED, ROLES, TRUST, read_signer
from onejob.repository.push import create, push
from onejob.repository.roles import load_roles, load_root, sign_all, sign_timestamp, write_roles
from onejob.repository.store import open_store
from some_repositories import (
    IMAGE,
    PROFILE,
    Place,
    content,
    files_of,
    image,
    make_place,
    refused,
    served,
)

TIMESTAMP = "metadata/timestamp.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A repository at version 2, and its state at version 1; copied for each attack."""
    place = make_place(tmp_path_factory.mktemp("made"))
    shutil.copytree(place.repository, place.folder / "old")
    place.push(image(place, "two"))
    place.pull()
    shutil.rmtree(place.got)
    place.got.mkdir()
    return place


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """A copy that has its own trust, as addresses differ; it has seen version 2."""
    copy = Place(shutil.copytree(made.folder, tmp_path / "place"))
    shutil.rmtree(copy.state)
    copy.pull()
    return copy


def trust(place: Place) -> bytes:
    """The owner's root."""
    return (place.keys / TRUST).read_bytes()


def resign(place: Place, change: Callable[[dict[str, TargetFile]], None], days: int = 30) -> None:
    """The owner himself signs targets that `change` made."""
    with open_store(place.repository) as store:
        roles = load_roles(store.metadata, load_root(store.metadata, trust(place)), b"")
        change(roles.targets.signed.targets)
        sign_all(roles, {name: read_signer(place.keys, name) for name in ROLES}, days)
        write_roles(store.metadata, roles, whole=True)


def publish(place: Place, target: str, history: object) -> None:
    """A history of any content, rightly signed."""
    data = json.dumps(history).encode()
    info = TargetFile.from_data(target, data, ["sha256"])
    (place.repository / "targets" / f"{info.hashes['sha256']}.{target}").write_bytes(data)
    resign(place, lambda targets: targets.__setitem__(target, info))


def newest(place: Place, target: str = IMAGE) -> dict[str, object]:
    """The history of `target`, as JSON."""
    found = [json.loads(p.read_text()) for p in (place.repository / "targets").glob(f"*.{target}")]
    latest: dict[str, object] = max(found, key=lambda history: len(history["releases"]))
    return latest


# --- who does not have the keys -----------------------------------------------------------------


def test_other_keys_than_the_owners(place: Place) -> None:
    other = Place(place.folder / "other")
    other.folder.mkdir()
    create(other.repository, other.keys, 30)
    other.push(place.folder / "one")
    for _ in range(9):
        other.push(None)
    shutil.copytree(
        other.repository / "metadata", place.repository / "metadata", dirs_exist_ok=True
    )
    refused(place, "is not signed by who is trusted")


def test_a_root_that_the_one_before_did_not_sign(place: Place) -> None:
    create(place.folder / "other", place.folder / "keys2", 30)
    root = json.loads((place.folder / "keys2" / TRUST).read_text())
    root["signed"]["version"] = 2
    (place.repository / "metadata/2.root.json").write_text(json.dumps(root))
    refused(place, "is not signed by who is trusted")


def test_metadata_changed_after_it_was_signed(place: Place) -> None:
    path = place.repository / TIMESTAMP
    text = json.loads(path.read_text())
    text["signed"]["version"] += 5
    path.write_text(json.dumps(text))
    refused(place, "is not signed by who is trusted: timestamp was signed by 0/1 keys")


def test_an_older_state_of_the_whole_repository(place: Place) -> None:
    shutil.rmtree(place.repository)
    shutil.copytree(place.folder / "old", place.repository)
    refused(place, "is older than what was seen before")


def test_an_older_snapshot_under_the_newest_timestamp(place: Place) -> None:
    shutil.copy(
        place.repository / "metadata/3.snapshot.json", place.repository / "metadata/4.snapshot.json"
    )
    forget_all_but_root(place)
    refused(place, "holds something that is not what was signed")


def test_older_targets_under_the_newest_snapshot(place: Place) -> None:
    shutil.copy(
        place.repository / "metadata/3.targets.json", place.repository / "metadata/4.targets.json"
    )
    forget_all_but_root(place)
    refused(place, "holds something that is not what was signed")


def forget_all_but_root(place: Place) -> None:
    """As a puller who comes for the second time after long."""
    (folder,) = (place.state / "repositories").iterdir()
    for name in ("snapshot.json", "targets.json", "timestamp.json"):
        (folder / name).unlink()


def test_one_name_has_what_belongs_to_another(place: Place) -> None:
    shutil.copy(
        place.entry(f".{PROFILE}"),
        max(
            (place.repository / "targets").glob(f"*.{IMAGE}"), key=lambda path: path.stat().st_size
        ),
    )
    refused(place, "holds something that is not what was signed")


def roots(place: Place) -> Path:
    """The root file system of the newest version."""
    release = newest(place)["releases"][-1]  # type: ignore[index]
    (digest,) = [part["sha256"] for part in release["parts"] if part["name"] == "root.img"]
    return place.repository / "targets" / f"{digest}.root.img"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "is not what was signed"),
        (lambda data: data[:100], "is not what was signed"),
        (lambda data: b"", "is not what was signed"),
        (lambda data: data + b"x", "sends more than was signed"),
        (lambda data: data * 100, "sends more than was signed"),
        (lambda data: b"x" + data[1:], "is not what was signed"),
    ],
)
@pytest.mark.parametrize("by_http", [False, True])
def test_a_part_that_is_truncated_oversized_or_another(
    place: Place, change: Callable[[bytes], bytes], words: str, by_http: bool
) -> None:
    part = roots(place)
    part.write_bytes(change(part.read_bytes()))
    shutil.rmtree(place.got / IMAGE)
    if not by_http:
        return refused(place, words)
    with served(files_of(place.repository)) as address:
        place.pull(PROFILE, source=address, trust=place.keys / TRUST)
        refused(place, words, source=address)


def test_a_part_that_is_missing(place: Place) -> None:
    roots(place).unlink()
    shutil.rmtree(place.got / IMAGE)
    refused(place, "does not have all that it should")


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_metadata_that_is_truncated(place: Place, cut: int) -> None:
    path = place.repository / TIMESTAMP
    path.write_bytes(path.read_bytes()[:cut])
    refused(place, "is not a sound repository")


def test_metadata_that_is_nested_too_deeply(place: Place) -> None:
    (place.repository / TIMESTAMP).write_bytes(b"[" * 10_000)
    refused(place, "is not a sound repository")


def test_what_was_not_renewed_in_time(place: Place) -> None:
    """A server that shows an old state for ever, or an owner who forgot it."""
    with open_store(place.repository) as store:
        roles = load_roles(store.metadata, load_root(store.metadata, trust(place)), b"")
        sign_timestamp(roles, {name: read_signer(place.keys, name) for name in ROLES}, -1)
        write_roles(store.metadata, roles, whole=False)
    refused(place, "says nothing new for too long: timestamp.json is expired")
    place.push(None)
    assert place.pull().release.version == 2


@pytest.mark.parametrize("name", ["metadata/timestamp.json", "root.img"])
def test_a_link_out_of_the_repository_is_not_followed(place: Place, name: str) -> None:
    path = place.repository / name if "/" in name else roots(place)
    secret = place.folder / "secret"
    path.rename(secret)
    path.symlink_to(secret)
    shutil.rmtree(place.got / IMAGE)
    refused(place, "cannot be read: .*Too many levels of symbolic links")


def test_a_pipe_in_the_repository_does_not_hold_anybody(place: Place) -> None:
    (place.repository / TIMESTAMP).unlink()
    os.mkfifo(place.repository / TIMESTAMP)
    refused(place, "cannot be read: .*not a regular file")


# --- an owner whose key was taken ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "..", "a/b", "a\0b", ""])
def test_a_path_that_leaves_the_image(place: Place, name: str) -> None:
    history = newest(place)
    history["releases"][-1]["parts"][0]["name"] = name  # type: ignore[index]
    publish(place, IMAGE, history)
    refused_plainly(place, "history of keeper.onejob: ")


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "0" * 63 + "/"])
def test_a_hash_that_leaves_the_repository(place: Place, digest: str) -> None:
    history = newest(place)
    history["releases"][-1]["parts"][0]["sha256"] = digest  # type: ignore[index]
    publish(place, IMAGE, history)
    refused_plainly(place, "history of keeper.onejob: ")


def test_the_history_of_another_name(place: Place) -> None:
    publish(place, IMAGE, newest(place, PROFILE))
    refused_plainly(place, "is one of keeper.profile.xml")


def test_parts_that_are_no_image_together(place: Place) -> None:
    history = newest(place)
    history["releases"][-1]["parts"].pop()  # type: ignore[index]
    publish(place, IMAGE, history)
    refused_plainly(place, "profile.xml is missing")


def test_parts_of_two_versions(place: Place) -> None:
    history = newest(place)
    one, two = (release["parts"] for release in history["releases"])  # type: ignore[attr-defined]
    mixed = [part for part in one if part["name"] == "root.img"]
    two[:] = [part for part in two if part["name"] != "root.img"] + mixed
    publish(place, IMAGE, history)
    refused_plainly(place, "is corrupted")


def test_a_part_that_no_disk_can_hold(place: Place) -> None:
    history = newest(place)
    history["releases"][-1]["parts"][0]["size"] = 1 << 62  # type: ignore[index]
    publish(place, IMAGE, history)
    refused_plainly(place, "no space left")


def refused_plainly(place: Place, match: str) -> None:
    """As `refused`, of errors that may have no hint."""
    before = content(place.folder)
    with pytest.raises(OnejobError, match=match) as caught:
        place.pull()
    assert "\n" not in caught.value.what
    after = content(place.folder)
    assert {path for path in before.keys() ^ after.keys() if not path.startswith("state/")} == set()
    assert content(place.got) == {k[4:]: v for k, v in before.items() if k.startswith("got/")}


def test_keys_that_were_taken_count_no_more_once_they_are_replaced(place: Place) -> None:
    """The thief published, for some time; then the owner restored the folder and changed keys."""
    thief = Place(shutil.copytree(place.folder, place.folder.with_name("thief")))
    (thief.keys / "root.key").unlink()
    before = shutil.copytree(place.repository, place.folder / "before")
    for number in range(3):
        thief.push(image(thief, f"bad{number}"))
    show(thief.repository, place)
    assert place.pull().release.version == 5
    show(before, place)
    with pytest.raises(InputError, match=r"root\.key is not in the folder of keys"):
        push(None, thief.repository, thief.keys, days=30, progress=Quiet(), new_keys=True)
    push(None, place.repository, place.keys, days=30, progress=Quiet(), new_keys=True)
    assert place.pull().release.version == 2
    assert content(place.got / IMAGE) == content(place.folder / "two")
    good = shutil.copytree(place.repository, place.folder / "good")
    show(thief.repository, place)
    refused(place, "is not signed by who is trusted")
    show(good, place)
    (thief.keys / PUSHED).unlink()
    with pytest.raises(InputError, match=r"is not a key of this repository"):
        push(None, place.repository, thief.keys, days=30, progress=Quiet())
    place.push(image(place, "three"))
    assert place.pull().release.version == 3


def show(repository: Path, place: Place) -> None:
    """Have the place's server show that repository."""
    shutil.rmtree(place.repository)
    shutil.copytree(repository, place.repository)


# --- attacks on whoever pushes -------------------------------------------------------------------


def test_the_owner_signs_nothing_on_top_of_what_he_did_not_push(place: Place) -> None:
    path = place.repository / "metadata/4.targets.json"
    path.write_bytes(path.read_bytes().replace(b"keeper", b"hacker"))
    before = content(place.repository)
    with pytest.raises(InputError, match="is not what was pushed") as caught:
        place.push(image(place, "three"))
    assert "nothing was signed" in caught.value.hint
    assert content(place.repository) == before


@pytest.mark.parametrize("other", ["4.snapshot.json", "4.targets.json", "1.root.json"])
def test_the_owner_takes_no_role_for_another(place: Place, other: str) -> None:
    shutil.copy(place.repository / "metadata" / other, place.repository / TIMESTAMP)
    with pytest.raises(InputError, match=r"is not what was pushed: .* in the place of timestamp"):
        place.push(None)


def test_the_owner_signs_nothing_on_top_of_an_older_state(place: Place) -> None:
    shutil.rmtree(place.repository)
    shutil.copytree(place.folder / "old", place.repository)
    before = content(place.repository)
    with pytest.raises(InputError, match="is older than what was pushed from here"):
        place.push(image(place, "three"))
    assert content(place.repository) == before
    (place.keys / PUSHED).unlink()
    assert place.push(None).history is None


def test_a_history_that_the_server_changed_is_not_extended(place: Place) -> None:
    for path in (place.repository / "targets").glob(f"*.{IMAGE}"):
        path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(InputError, match="holds something that is not what was signed"):
        place.push(image(place, "three"))


def test_links_that_the_server_laid_are_replaced_not_followed(place: Place) -> None:
    precious = place.folder / "precious"
    precious.write_text("mine")
    for name in ("metadata/5.targets.json", "metadata/5.snapshot.json"):
        (place.repository / name).symlink_to(precious)
    place.push(image(place, "three"))
    assert precious.read_text() == "mine"
    shutil.move(place.repository / "targets", place.folder / "elsewhere")
    (place.repository / "targets").symlink_to(place.folder / "elsewhere")
    with pytest.raises(InputError, match="is not a repository"):
        place.push(image(place, "four"))


# --- anything -----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data())
def test_what_comes_is_right_or_nothing(made: Place, data: st.DataObject) -> None:
    """One file of the repository is changed in any way: the image is the pushed one, or refused."""
    files = sorted(path for path in made.repository.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    good = path.read_bytes()
    at = data.draw(st.integers(0, len(good)))
    new = data.draw(st.binary(max_size=8))
    skipped = data.draw(st.integers(0, 8))
    rest = b"" if data.draw(st.booleans()) and skipped == 8 else good[at + skipped :]
    try:
        path.write_bytes(good[:at] + new + rest)
        made.pull()
        assert content(made.got / IMAGE) == content(made.folder / "two")
    except InputError:
        assert os.listdir(made.got) == []
    finally:
        path.write_bytes(good)
        shutil.rmtree(made.got / IMAGE, ignore_errors=True)
