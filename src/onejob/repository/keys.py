"""The keys of a repository's owner: a folder of their own, private, never in a repository.

``root.key`` says which keys count, and is best kept elsewhere; ``targets.key`` signs what is
published; ``timestamp.key`` says what is current. ``root.json`` is public: what pullers trust.
"""

import os
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from onejob.model.errors import InputError, LacksError

TRUST = "root.json"
PUSHED = "pushed.json"  # the last timestamp that was signed from this folder
ROLES = {"root": ("root",), "targets": ("targets", "snapshot"), "timestamp": ("timestamp",)}
_STAGED = ".key.new"
_MOST_BYTES = 16 * 1024


def check_apart(keys: Path, repository: Path) -> None:
    """InputError where the one lies in the other: keys would be published."""
    one, other = keys.resolve(), repository.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise InputError(
            f"keys {keys} and repository {repository} lie in each other",
            "keep the keys elsewhere: a repository is there to be served",
        )


def generate_keys() -> dict[str, CryptoSigner]:
    """New ed25519 keys (RFC 8032), by the names of ROLES."""
    return {name: CryptoSigner.generate_ed25519() for name in ROLES}


def write_keys(folder: Path, signers: Mapping[str, CryptoSigner], trust: bytes) -> None:
    """Make `folder` of them; InputError where there is one already."""
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        hint = "new keys are made in a new folder"
        raise InputError(f"cannot make {folder}: {error.strerror}", hint) from error
    for name, signer in signers.items():
        _write(folder / f"{name}.key", signer.private_bytes, 0o600)
    _write(folder / TRUST, trust, 0o644)


def remove_keys(folder: Path) -> None:
    """Take back what write_keys made."""
    for name in (*(f"{name}.key" for name in ROLES), TRUST):
        with suppress(OSError):
            (folder / name).unlink()
    with suppress(OSError):
        folder.rmdir()


def generate_working_keys() -> dict[str, CryptoSigner]:
    """New ones in the place of all but root.key."""
    return {name: CryptoSigner.generate_ed25519() for name in ROLES if name != "root"}


def stage_keys(folder: Path, signers: Mapping[str, CryptoSigner]) -> None:
    """Lay new keys beside the old ones, which count until the repository names the new."""
    try:
        for name, signer in signers.items():
            _write(folder / f"{name}{_STAGED}", signer.private_bytes, 0o600)
    except OSError as error:
        raise LacksError(f"cannot write keys in {folder}: {error.strerror}") from error


def settle_keys(folder: Path, named: Collection[str]) -> bool:
    """Of the staged keys, take those whose ids the repository has `named`; drop the others.

    Whether any was taken.
    """
    taken = False
    for name in ROLES:
        staged = folder / f"{name}{_STAGED}"
        signer = _read_signer(staged)
        if signer and signer.public_key.keyid in named:
            staged.replace(folder / f"{name}.key")
            taken = True
        elif signer:
            staged.unlink()
    return taken


def keep(folder: Path, name: str, data: bytes) -> None:
    """Replace a file of the folder that is no key."""
    try:
        _write(folder / f".{name}", data, 0o644)
        os.replace(folder / f".{name}", folder / name)
    except OSError as error:
        raise LacksError(f"cannot write {folder / name}: {error.strerror}") from error


def read_kept(folder: Path, name: str) -> bytes:
    """Such a file; empty where there is none."""
    try:
        return (folder / name).read_bytes() if (folder / name).exists() else b""
    except OSError as error:
        raise InputError(f"{folder / name}: {error.strerror}") from error


def read_signer(folder: Path, name: str) -> CryptoSigner | None:
    """The key `name`; None where it is not in the folder.

    InputError where others can read it, or where it is no ed25519 key.
    """
    return _read_signer(folder / f"{name}.key")


def _read_signer(path: Path) -> CryptoSigner | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise InputError(f"{path} can be read by others", f"chmod 600 {path}")
        data = file.read(_MOST_BYTES)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} is no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is no ed25519 key")
    return CryptoSigner(key)


def _write(path: Path, data: bytes, mode: int) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
