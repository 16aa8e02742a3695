"""Names that a service makes up are one; names that were there stand for themselves."""

import posixpath

from hypothesis import given
from hypothesis import strategies as st

from onejob.drive.effects import fresh_nonce
from onejob.profiler.names import Folding

HOST = {"/", "/run", "/etc", "/etc/app.conf", "/var", "/var/lib", "/var/lib/app", "/var/lib/app/1"}
WORD = st.builds("w{}".format, st.text("aB1-.", max_size=6)) | st.sampled_from(["1", "app.conf"])
FOLDER = st.sampled_from(sorted(HOST - {"/etc/app.conf"}))
PATH = st.builds(posixpath.join, FOLDER, WORD)


def folding(*made: str) -> Folding:
    return Folding(made, HOST.__contains__)


def test_a_temporary_file_is_the_same_whatever_it_is_called() -> None:
    found = folding("/run/apache2.pid.Xq3vK1", "/run/apache2.pid.abcdef")
    assert (
        found.fold("/run/apache2.pid.Xq3vK1") == found.fold("/run/apache2.pid.abcdef") == "/run/*"
    )


def test_a_file_that_was_there_is_named_though_it_is_made_anew() -> None:
    found = folding("/etc/app.conf", "/etc/app.conf.tmp")
    assert found.fold("/etc/app.conf") == "/etc/app.conf"
    assert found.fold("/etc/app.conf.tmp") == "/etc/*"


def test_what_is_looked_for_in_vain_beside_made_up_names_is_one_of_them() -> None:
    """A mail server asks for a journal of each message, and mostly there is none."""
    found = folding("/var/lib/app/1tF3gh-0004Xc-0z-H")
    assert found.fold("/var/lib/app/1tF3gh-0004Xc-0z-J") == "/var/lib/app/*"
    assert found.fold("/etc/never-made") == "/etc/never-made"


def test_a_made_folder_and_what_is_in_it_are_made_up() -> None:
    found = folding("/var/lib/app/16384", "/var/lib/app/16384/112")
    assert found.fold("/var/lib/app/16384/2619_fsm") == "/var/lib/app/*/*"
    assert found.fold("/var/lib/app/1") == "/var/lib/app/1"


def test_what_would_be_in_a_folder_with_such_a_name_is_made_up() -> None:
    found = folding("/var/lib/app/1tF3gh-0004Xc-0z-H")
    assert found.fold("/var/lib/app/j/1tF3gj-0004Xc-0z-D") == "/var/lib/app/*/*"


def test_words_of_the_drills_are_one() -> None:
    names = [f"/etc/userdb/no-such-{fresh_nonce()}.user" for _ in range(2)]
    assert [folding().fold(name) for name in names] == ["/etc/userdb/no-such-*.user"] * 2


def test_running_numbers_of_many_digits_are_one() -> None:
    """A database looks whether a segment of its log has been archived; mostly it has not."""
    names = [f"/etc/status/0000000100000000000000{number}.done" for number in ("0A", "18")]
    assert [folding().fold(name) for name in names] == ["/etc/status/*.done"] * 2


def test_what_the_kernel_numbers_is_one() -> None:
    found = folding()
    assert found.fold("/proc/1234/task/77/stat") == "/proc/*/task/*/stat"
    assert found.fold("/proc/self/fd/3") == "/proc/self/fd/*"
    assert found.fold("/proc/sys/net/ipv4/tcp_rmem") == "/proc/sys/net/ipv4/tcp_rmem"
    assert found.fold("/dev/pts/3") == "/dev/pts/*"


@given(FOLDER, WORD, WORD, st.lists(PATH))
def test_two_made_names_in_one_folder_are_one(
    folder: str, one: str, two: str, others: list[str]
) -> None:
    paths = [posixpath.join(folder, word) for word in (one, two)]
    found = folding(*paths, *others)
    new = [found.fold(path) for path in paths if path not in HOST]
    assert set(new) <= {posixpath.join(folder, "*")}


@given(st.lists(PATH), PATH)
def test_what_was_there_and_its_folders_are_never_folded(made: list[str], path: str) -> None:
    folded = folding(*made).fold(path)
    assert folded == path or path not in HOST
    assert posixpath.dirname(folded) == posixpath.dirname(path)  # each is a folder of the host


@given(st.lists(PATH), st.lists(PATH), PATH)
def test_what_was_one_stays_one_as_more_is_made(
    made: list[str], more: list[str], path: str
) -> None:
    before, after = folding(*made), folding(*more, *made)
    assert after.fold(path) in (before.fold(path), posixpath.join(posixpath.dirname(path), "*"))
    assert folding(*reversed(made), *made).fold(path) == before.fold(path)


@given(PATH)
def test_without_anything_made_a_path_is_itself(path: str) -> None:
    assert folding().fold(path) == path
