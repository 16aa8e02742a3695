"""What a puller trusts: a root that was given once, and the newest metadata that was ever seen.

Kept in a folder for each repository; so an older state of it, or one of other keys, is refused.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuf.api.exceptions import RepositoryError
from tuf.ngclient import Updater

from onejob.model.errors import InputError, LacksError
from onejob.model.noun import read_chunks
from onejob.repository.fetch import Source
from onejob.repository.refusals import refusals
from onejob.repository.roles import parse_root

TRUST = "trust.json"
_HISTORY = "root_history"
_MOST_BYTES = 512_000  # as tuf's client takes of a root


@dataclass(frozen=True)
class Client:
    """tuf's client of a repository, with fresh metadata; `folder` has what it verified."""

    updater: Updater
    folder: Path


@contextmanager
def trusted(source: Source, trust: Path | None, state: Path) -> Iterator[Client]:
    """A client of `source`.

    `trust` is the root that its owner gave, needed the first time; what is remembered of it is
    below `state`. InputError where the repository is not trusted, or is not to be trusted now.
    """
    given = read_root(trust) if trust else b""
    place = state / "repositories" / hashlib.sha256(source.address.encode()).hexdigest()[:32]
    with refusals(source.address):
        with _locked(place.parent):
            updater = _known(source, place, given)
        yield Client(updater, place)


def _known(source: Source, place: Path, given: bytes) -> Updater:
    if place.exists():
        try:
            updater = _updater(source, place, read_root(place / TRUST))
        except RepositoryError:
            _check_given(source, place, given)  # where that is the reason, it is the better word
            raise
        _check_given(source, place, given)
        return updater
    if given:
        return _trust_first(source, place, given)
    raise InputError(
        f"{source.address} was never trusted on this machine",
        "give --trust root.json, as its owner handed it out",
    )


def read_root(path: Path) -> bytes:
    """The root metadata in `path`; InputError where it is none."""
    data = b"".join(read_chunks(path, "root", _MOST_BYTES))
    try:
        parse_root(data)
    except (RepositoryError, ValueError, AttributeError) as error:
        hint = "it is the root.json that onejob push --create left beside the keys"
        raise InputError(f"{path} is no root of a repository", hint) from error
    return data


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time, as tuf's client wants it while it refreshes what it remembers."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        words = f"cannot remember trust in {folder}: {error.strerror}"
        raise LacksError(words, "choose another folder for it: ONEJOB_STATE=FOLDER") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _updater(source: Source, folder: Path, root: bytes) -> Updater:
    """A client that remembers in `folder`, with fresh metadata."""
    updater = Updater(
        str(folder), source.metadata, None, source.targets, source.fetcher, bootstrap=root
    )
    updater.refresh()
    return updater


def _trust_first(source: Source, place: Path, given: bytes) -> Updater:
    """The same for a repository that is new here; remembered only if all was well."""
    work = Path(tempfile.mkdtemp(prefix=".onejob-", dir=place.parent))
    try:
        updater = _updater(source, work, given)
        (work / TRUST).write_bytes(given)
        work.rename(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return updater


def _check_given(source: Source, place: Path, given: bytes) -> None:
    """A root that is given again has to be one that was seen here."""
    known = [path.read_bytes() for path in (place / _HISTORY).iterdir()]
    if given and given not in known:
        raise InputError(
            f"{source.address} is trusted with another root than the one given",
            f"if its owner made it anew, forget the old one: rm -r {place}",
        )
