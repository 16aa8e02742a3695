"""Keys as openssl makes them, and what is signed with them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from onejob.model.administrator import shutdown_message
from onejob.model.errors import InputError, ServiceError
from onejob.system.administer import read_private_key, read_public_key, shut_down
from onejob.system.asked import answering
from onejob.system.serving import Place

CHALLENGE = "0123456789abcdef" * 2


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public one."""
    private, public = tmp_path / "admin.key", tmp_path / "admin.pub"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    return private, public


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


def test_the_two_halves_belong_together(keys: tuple[Path, Path]) -> None:
    private, public = keys
    assert read_private_key(private).public_key().public_bytes_raw().hex() == read_public_key(
        public
    )


def test_other_keys_and_files_are_refused(keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    rsa, locked = tmp_path / "rsa", tmp_path / "locked"
    openssl("genpkey", "-algorithm", "rsa", "-out", rsa)
    openssl("pkey", "-in", private, "-aes256", "-passout", "pass:x", "-out", locked)
    empty = tmp_path / "empty"
    empty.touch()
    for path in (public, locked, empty, rsa):
        with pytest.raises(InputError, match=path.name):
            read_private_key(path)
    for path in (private, empty, tmp_path / "absent"):
        with pytest.raises(InputError, match=path.name):
            read_public_key(path)


def test_the_challenge_is_signed_with_the_name(keys: tuple[Path, Path], tmp_path: Path) -> None:
    private = read_private_key(keys[0])
    said: list[str] = []

    def reply(do: str, **fields: Any) -> Any:
        if do == "shutdown":
            said.append(fields["text"])
        return CHALLENGE if do == "challenge" else None

    place = Place(tmp_path / "socket")
    with answering(place, reply):
        shut_down(place, "web", private)
    [signature] = said
    private.public_key().verify(bytes.fromhex(signature), shutdown_message("web", CHALLENGE))


@pytest.mark.parametrize("challenge", [None, "", 7, "x" * 32, CHALLENGE + "\n", "a\nb"])
def test_nothing_but_a_challenge_is_signed(
    keys: tuple[Path, Path], tmp_path: Path, challenge: object
) -> None:
    """Whoever answers at the place gets no signature of a text of his own."""
    place = Place(tmp_path / "socket")
    with (
        answering(place, lambda do, **_: challenge if do == "challenge" else pytest.fail("signed")),
        pytest.raises(ServiceError, match="is no challenge"),
    ):
        shut_down(place, "web", read_private_key(keys[0]))
