"""Who may shut a system down from outside: the administrator, by a signature, and nobody else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from init_container import Container

from onejob.model.administrator import shutdown_message

pytestmark = [pytest.mark.root, pytest.mark.runc]

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
REFUSED = "this is not the administrator's signature of the challenge"


@pytest.fixture
def administered(container: Container) -> Container:
    """As `onejob run` starts it: nothing drives it."""
    container.environment.remove("ONEJOB_DRIVEN=yes")
    container.plan["administrator"] = KEY.public_key().public_bytes_raw().hex()
    return container


def signature(challenge: str, key: Ed25519PrivateKey = KEY, name: str = "job") -> str:
    return key.sign(shutdown_message(name, challenge)).hex()


def test_the_signature_of_the_challenge_stops_the_service(administered: Container) -> None:
    administered.start()
    administered.await_text("ready")
    challenge = administered.ask("challenge")
    assert administered.ask("challenge") == challenge, "it stays until it was used"
    administered.ask("shutdown", text=signature(challenge))
    assert administered.event("exited") == {"event": "exited", "status": 0}
    assert administered.status() == 0
    assert "onejob: shut down by the administrator\n" in administered.console
    assert "quitting\n" in administered.console, "in the service's own way"


def test_no_other_signature_does(administered: Container) -> None:
    administered.start()
    administered.await_text("ready")
    early = signature("")
    with pytest.raises(RuntimeError, match=REFUSED):
        administered.ask("shutdown", text=early)  # before there is a challenge
    challenge = administered.ask("challenge")
    good = signature(challenge)
    flipped = f"{int(good[:2], 16) ^ 1:02x}{good[2:]}"
    small_order = "01" + "00" * 31 + "00" * 32
    for bad in (
        "", "00" * 64, "zz" * 64, good[:-2], good + "00", flipped, small_order, "\u00e9" * 128,
        good[:64] + "ff" * 32, signature(challenge, OTHER), signature(challenge, name="other"),
        signature(challenge.upper()), signature("0" * 32), KEY.sign(b"").hex(),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=REFUSED):
            administered.ask("shutdown", text=bad)
    with pytest.raises(RuntimeError, match=REFUSED):
        administered.ask("shutdown")
    assert administered.ask("observations")["peaks"]["processes"] == 1
    administered.ask("shutdown", text=good)
    assert administered.status() == 0


def test_a_signature_is_good_only_once(administered: Container) -> None:
    """One that was overheard neither works again in this boot nor in the next one."""
    administered.start("deaf")  # does not stop for two seconds
    administered.await_text("ready")
    used = signature(administered.ask("challenge"))
    administered.ask("shutdown", text=used)
    with pytest.raises(RuntimeError, match=REFUSED):
        administered.ask("shutdown", text=used)
    following = administered.ask("challenge")
    with pytest.raises(RuntimeError, match=REFUSED):
        administered.ask("shutdown", text=used)
    assert administered.status() == 137
    administered.name += "-again"
    administered.start("serve")
    administered.await_text("ready")
    assert administered.ask("challenge") != following
    with pytest.raises(RuntimeError, match=REFUSED):
        administered.ask("shutdown", text=used)


def test_nothing_else_can_be_asked(administered: Container) -> None:
    administered.start()
    administered.await_text("ready")
    path = {"path": "/var/log/job/x", "from": "/job", "to": "/other", "text": "x"}
    for verb in (
        "signal", "rename", "remove", "read", "contains", "exists", "list", "readlink",
        "denials", "processes", "shell", "", "Shutdown",
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="can be observed and shut down, and nothing else"):
            administered.ask(verb, signal=9, offset=0, length=1, **path)
    assert administered.ask("observations")["peaks"]["processes"] == 1
    administered.ask("stop")  # the host's own word
    assert administered.status() == 0


def test_without_a_key_there_is_no_administrator(administered: Container) -> None:
    del administered.plan["administrator"]
    administered.start()
    administered.await_text("ready")
    words = signature(administered.ask("challenge"))
    with pytest.raises(RuntimeError, match="the plan names no administrator's key"):
        administered.ask("shutdown", text=words)


@pytest.mark.parametrize("key", ["", "00", "zz" * 32, "00" * 33])
def test_a_key_that_is_none_stops_the_boot(administered: Container, key: str) -> None:
    administered.plan["administrator"] = key
    administered.start()
    assert administered.status() == 1
    assert "`administrator` is not 32 bytes in hexadecimal" in administered.console
