"""The signed metadata of a repository, as its owner reads, changes and signs it.

The form is that of The Update Framework (its specification, 1.0.33): root says which keys count,
targets what is published, snapshot which targets, timestamp which snapshot, for a short time only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from securesystemslib.signer import CryptoSigner, Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
)

from onejob.model.errors import InputError
from onejob.repository.keys import ROLES
from onejob.repository.store import Entries

LONG = timedelta(days=365)  # of root, targets and snapshot; only the timestamp is short-lived
MOST_BYTES = 5_000_000  # as of tuf's own client
_TARGETS = "targets.json"
_SNAPSHOT = "snapshot.json"
TIMESTAMP = "timestamp.json"

SignedT = TypeVar("SignedT", Root, Targets, Snapshot, Timestamp)
Signers = Mapping[str, CryptoSigner | None]


@dataclass
class Roles:
    """The four roles of a repository, verified or about to be signed."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]


def now() -> datetime:
    """The time as metadata has it: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def new_roles(signers: Mapping[str, CryptoSigner], days: int) -> Roles:
    """The metadata of an empty repository, signed."""
    keys: dict[str, Key] = {}
    roles: dict[str, Role] = {}
    for name, signed in ROLES.items():
        key = signers[name].public_key
        keys[key.keyid] = key
        roles |= {role: Role([key.keyid], 1) for role in signed}
    root = Metadata(Root(1, None, now() + LONG, keys, roles, consistent_snapshot=True))
    made = Roles(root, Metadata(Targets()), Metadata(Snapshot()), Metadata(Timestamp()))
    root.sign(signers["root"])
    sign_all(made, signers, days, first=True)
    return made


def sign_all(roles: Roles, signers: Signers, days: int, *, first: bool = False) -> None:
    """New versions of targets, snapshot and timestamp; `days` are those of the timestamp."""
    step = 0 if first else 1
    expires = now() + LONG
    data = sign(roles.targets, roles.root, signers, "targets", expires, step)
    roles.snapshot.signed.meta[_TARGETS] = _meta(roles.targets.signed.version, data)
    data = sign(roles.snapshot, roles.root, signers, "targets", expires, step)
    roles.timestamp.signed.snapshot_meta = _meta(roles.snapshot.signed.version, data)
    sign_timestamp(roles, signers, days, step)


def sign_timestamp(roles: Roles, signers: Signers, days: int, step: int = 1) -> None:
    """A new version of the timestamp alone: it says for how long the rest is current."""
    expires = now() + timedelta(days=days)
    sign(roles.timestamp, roles.root, signers, "timestamp", expires, step)


def renew_root(roles: Roles, signers: Signers) -> None:
    """A new version of root, valid for longer."""
    sign(roles.root, roles.root, signers, "root", now() + LONG, 1)


def replace_keys(roles: Roles, signers: Signers, new: Mapping[str, CryptoSigner]) -> None:
    """A new version of root in which the keys `new` have the place of the ones before."""
    root = roles.root.signed
    for name, signer in new.items():
        for role in ROLES[name]:
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            root.add_key(signer.public_key, role)
    renew_root(roles, signers)


def sign(
    metadata: Metadata[SignedT],
    root: Metadata[Root],
    signers: Signers,
    key: str,
    expires: datetime,
    step: int,
) -> bytes:
    """Sign it as the next version (`step` 1) with the key `key`; its bytes.

    InputError where that key is missing or is not one of this repository.
    """
    signer = signers[key]
    if signer is None:
        raise InputError(f"{key}.key is not in the folder of keys", "it has to sign this")
    role = metadata.signed.type
    if signer.public_key.keyid not in root.signed.roles[role].keyids:
        raise InputError(f"{key}.key is not a key of this repository", "give its own --keys")
    metadata.signed.version += step
    metadata.signed.expires = expires
    metadata.sign(signer)
    return metadata.to_bytes()


def is_ageing(signed: Signed) -> bool:
    """Whether half of the long life is over."""
    return signed.expires - now() < LONG / 2


def _meta(version: int, data: bytes) -> MetaFile:
    return MetaFile.from_data(version, data, ["sha256"])


def load_roles(folder: Entries, root: Metadata[Root], pushed: bytes) -> Roles:
    """The metadata in `folder`, verified by the keys of `root`; expired metadata is taken.

    InputError where it is not what the owner signed, or older than `pushed`, the last timestamp
    that was signed here (empty: none): whoever can write to the folder must not make the owner
    sign what he never published.
    """
    try:
        roles = _load_below(folder, root)
        least = Metadata[Timestamp].from_bytes(pushed).signed.version if pushed else 0
    except (RepositoryError, ValueError, KeyError) as error:
        words = f"{folder.path} is not what was pushed: {str(error) or type(error).__name__}"
        raise InputError(words, "restore it from a copy; nothing was signed") from error
    if roles.timestamp.signed.version < least:
        seen = f"version {roles.timestamp.signed.version}, last was {least}"
        raise InputError(
            f"{folder.path} is older than what was pushed from here ({seen})",
            "restore it from a newer copy; nothing was signed",
        )
    return roles


def parse_root(data: bytes) -> Metadata[Root]:
    """A root that is signed by its own keys."""
    root = Metadata[Root].from_bytes(data)
    root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    return root


def load_root(folder: Entries, trust: bytes) -> Metadata[Root]:
    """The newest root, each version signed by the keys of the one before (5.3 of the spec).

    `trust` is the first. RepositoryError where one is not.
    """
    root = parse_root(trust)
    while folder.has(name := f"{root.signed.version + 1}.root.json"):
        data = folder.read(name, MOST_BYTES)
        found = Metadata[Root].from_bytes(data)
        for judge in (root.signed, found.signed):
            judge.verify_delegate(Root.type, found.signed_bytes, found.signatures)
        if found.signed.version != root.signed.version + 1:
            raise RepositoryError(f"{name} is version {found.signed.version}")
        root = found
    return root


def _load_below(folder: Entries, root: Metadata[Root]) -> Roles:
    timestamp = _judged(root, Timestamp, folder.read(TIMESTAMP, MOST_BYTES))
    data = _read(folder, _SNAPSHOT, timestamp.signed.snapshot_meta)
    snapshot = _judged(root, Snapshot, data)
    data = _read(folder, _TARGETS, snapshot.signed.meta[_TARGETS])
    return Roles(root, _judged(root, Targets, data), snapshot, timestamp)


def _judged(root: Metadata[Root], role: type[SignedT], data: bytes) -> Metadata[SignedT]:
    """The metadata of that role, signed as `root` says."""
    found = Metadata[SignedT].from_bytes(data)
    if not isinstance(found.signed, role):
        raise RepositoryError(f"{found.signed.type} is in the place of {role.type}")
    root.signed.verify_delegate(role.type, found.signed_bytes, found.signatures)
    return found


def _read(folder: Entries, name: str, meta: MetaFile) -> bytes:
    data = folder.read(f"{meta.version}.{name}", MOST_BYTES)
    meta.verify_length_and_hashes(data)
    return data


def write_roles(folder: Entries, roles: Roles, *, whole: bool) -> None:
    """Put it there; the timestamp last, so that until then all is as it was.

    `whole`: targets and snapshot are new, too, and not only root and timestamp.
    """
    root = f"{roles.root.signed.version}.root.json"
    if not folder.has(root):
        folder.write(root, [roles.root.to_bytes()])
    if whole:
        folder.write(f"{roles.targets.signed.version}.{_TARGETS}", [roles.targets.to_bytes()])
        folder.write(f"{roles.snapshot.signed.version}.{_SNAPSHOT}", [roles.snapshot.to_bytes()])
    folder.write(TIMESTAMP, [roles.timestamp.to_bytes()])
