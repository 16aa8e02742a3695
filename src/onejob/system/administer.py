"""Shutting a running system down by a signed message; the keys are ed25519 (RFC 8032), in PEM."""

import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from onejob.model.administrator import CHALLENGE_BYTES, shutdown_message
from onejob.model.errors import InputError, ServiceError
from onejob.model.noun import read_text
from onejob.system.asked import ask
from onejob.system.serving import Place

_MAKE = "make one with: openssl genpkey -algorithm ed25519 -out admin.key"
_TAKE = "take it from the private key: openssl pkey -in admin.key -pubout -out admin.pub"
_CHALLENGE = re.compile(rf"[0-9a-f]{{{2 * CHALLENGE_BYTES}}}")


def read_public_key(path: Path) -> str:
    """The public key in `path` in hexadecimal; InputError where it is another thing."""
    try:
        key = load_pem_public_key(read_text(path, "public key").encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no public key in PEM", _TAKE) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} is no ed25519 key", _MAKE)
    return key.public_bytes_raw().hex()


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in `path`, which has no password."""
    try:
        key = load_pem_private_key(read_text(path, "private key").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no private key in PEM without a password", _MAKE) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is no ed25519 key", _MAKE)
    return key


def shut_down(place: Place, name: str, key: Ed25519PrivateKey) -> None:
    """Have the system `name`, which answers at `place`, stop its service and end.

    ServiceError where it refuses the signature.
    """
    challenge = ask(place, "challenge")
    if not isinstance(challenge, str) or not _CHALLENGE.fullmatch(challenge):
        raise ServiceError(f"{name}: what it wants signed is no challenge")
    ask(place, "shutdown", text=key.sign(shutdown_message(name, challenge)).hex())
