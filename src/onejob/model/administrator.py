"""What an administrator signs to shut a system down: one challenge of one boot, so only once."""

CHALLENGE_BYTES = 16
KEY_BYTES = 32


def shutdown_message(name: str, challenge: str) -> bytes:
    """The signed bytes, as native/init/src/administrator.rs has them; `name` is the image's."""
    return f"onejob shutdown\n{name}\n{challenge}\n".encode()
