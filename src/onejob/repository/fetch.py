"""Where a repository is fetched from: a folder, or an HTTP server that may be slow or hostile.

tuf's client says how many bytes it takes at most; here is seen to it that they come in time.
"""

import errno
import math
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from onejob import __version__
from onejob.model.errors import InputError
from onejob.repository.store import METADATA, TARGETS, Store, open_store

PATIENCE_S = 30.0
_PIECE = 16 * 1024
_FOLDER = "folder:///"  # not a scheme that anybody fetches: it only marks our own paths
_NOT_FOUND = 404


@dataclass(frozen=True)
class Source:
    """A repository to pull from; `address` names it to people and in what is remembered."""

    address: str
    base: str
    fetcher: FetcherInterface

    @property
    def metadata(self) -> str:
        """The address of its metadata."""
        return self.base + METADATA

    @property
    def targets(self) -> str:
        """The address of what it holds."""
        return self.base + TARGETS


@contextmanager
def open_source(place: str, patience_s: float = PATIENCE_S) -> Iterator[Source]:
    """The repository at `place`, a folder or a URL; InputError where it can be neither.

    A server that needs more than `patience_s` seconds for the next 16 KiB is too slow.
    """
    if "://" in place:
        address = _check_url(place)
        yield Source(address, f"{address}/", PatientFetcher(patience_s))
        return
    path = Path(place).absolute()
    with open_store(path) as store:
        yield Source(str(path.resolve()), _FOLDER, FolderFetcher(store))


def _check_url(place: str) -> str:
    try:
        url = urlsplit(place)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        good = False
    if not good or url.query or url.fragment or url.username is not None:
        hint = "give a folder, or http://HOST/PATH, or https://HOST/PATH"
        raise InputError(f"{place} is no address of a repository", hint)
    return place.rstrip("/")


class FolderFetcher(FetcherInterface):
    """Reads a repository's folder as a client reads a server's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _fetch(self, url: str) -> Iterator[bytes]:
        folder, _, name = url.removeprefix(_FOLDER).partition("/")
        entries = self._store.metadata if folder == METADATA else self._store.targets
        try:
            yield from entries.chunks(name)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise DownloadHTTPError(f"{name} is not there", _NOT_FOUND) from error
            raise DownloadError(f"{entries.path / name}: {error.strerror}") from error


class PatientFetcher(FetcherInterface):
    """HTTP by tuf's own fetcher, in a thread: that waits for every byte, this for the next piece.

    A server that sends a byte now and then, in the header or in the body, would hold it for ever.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._inner = Urllib3Fetcher(
            socket_timeout=math.ceil(patience_s) + 1,  # ours ends first, and says so
            chunk_size=_PIECE,
            app_user_agent=f"onejob/{__version__}",
        )

    def _fetch(self, url: str) -> Iterator[bytes]:
        reading = _Reading(self._inner, url)
        thread = threading.Thread(target=reading.run, name="onejob-fetch", daemon=True)
        thread.start()
        try:
            yield from reading.pieces(self._patience_s)
        finally:
            reading.left.set()


class _Reading:
    """One fetch: pieces from a thread, then None or what went wrong."""

    def __init__(self, inner: FetcherInterface, url: str) -> None:
        self._inner = inner
        self._url = url
        self._queue: queue.Queue[bytes | Exception | None] = queue.Queue(maxsize=4)
        self.left = threading.Event()

    def run(self) -> None:
        """In the thread: all pieces, until the reader has left."""
        try:
            for piece in self._inner.fetch(self._url):
                self._put(piece)
                if self.left.is_set():
                    return
            self._put(None)
        except Exception as error:  # whatever the libraries raise is the reader's to judge
            self._put(error)

    def _put(self, item: bytes | Exception | None) -> None:
        while not self.left.is_set():
            try:
                return self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue

    def pieces(self, patience_s: float) -> Iterator[bytes]:
        """The reader's side; SlowRetrievalError where the next one does not come in time."""
        while True:
            try:
                item = self._queue.get(timeout=patience_s)
            except queue.Empty as error:
                raise SlowRetrievalError(f"{self._url} does not come") from error
            if item is None:
                return
            if isinstance(item, DownloadHTTPError):
                raise DownloadHTTPError(f"{self._url}: {item}", item.status_code) from item
            if isinstance(item, Exception):
                raise DownloadError(f"{self._url}: {_words(item)}") from item
            yield item


def _words(error: Exception) -> str:
    """What the innermost error says; the outer ones repeat it in the words of a library."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    reason = getattr(error, "reason", None)
    return str(reason if isinstance(reason, Exception) else error) or type(error).__name__
