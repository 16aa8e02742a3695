"""A repository with two versions of an image and a profile, its owner, and whoever pulls."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import small_world
from onejob.base.progress import Quiet
from onejob.model.errors import InputError
from onejob.model.profile_xml import write_profile
from onejob.repository.fetch import open_source
from onejob.repository.pull import Pulled, find_history, pull
from onejob.repository.push import Pushed, create, describe, push
from onejob.repository.trust import trusted
from some_images import make_image

IMAGE, PROFILE = "keeper.onejob", "keeper.profile.xml"
ROOT_BYTES = 40_000


@dataclass(frozen=True)
class Place:
    """A folder with a repository, its keys, images to push, and what a puller has."""

    folder: Path

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def state(self) -> Path:
        """What the puller remembers."""
        return self.folder / "state"

    @property
    def got(self) -> Path:
        """Where the puller puts things."""
        return self.folder / "got"

    def push(self, subject: Path | None, days: int = 30) -> Pushed:
        described = None if subject is None else describe(subject)
        return push(described, self.repository, self.keys, days=days, progress=Quiet())

    def pull(
        self,
        name: str = IMAGE,
        *,
        source: str = "",
        version: int | None = None,
        trust: Path | None = None,
        patience_s: float = 60,
    ) -> Pulled:
        """Pull `name` to a place of that name; trust is given where none is remembered."""
        trust = trust or (None if self.state.exists() else self.keys / "root.json")
        with (
            open_source(source or str(self.repository), patience_s) as opened,
            trusted(opened, trust, self.state) as client,
        ):
            history = find_history(client, name)
            release = history.release(version)
            return pull(client, history, release, self.got / name, Quiet())

    def entry(self, end: str) -> Path:
        """The one file of targets/ whose name ends so."""
        (path,) = (self.repository / "targets").glob(f"*{end}")
        return path


def image(place: Place, name: str, root: bytes = b"") -> Path:
    """An image in the place; its root is random where none is given."""
    return make_image(place.folder / name, root or os.urandom(ROOT_BYTES))


def profile(place: Place) -> Path:
    """The profile of the same service, as a file."""
    path = place.folder / "keeper.profile.xml"
    path.write_text(write_profile(small_world.profile()))
    return path


def make_place(folder: Path) -> Place:
    """A repository with one image and one profile, each at version 1."""
    place = Place(folder)
    place.got.mkdir()
    create(place.repository, place.keys, 30)
    place.push(image(place, "one"))
    place.push(profile(place))
    return place


class _Server(ThreadingHTTPServer):
    """Clients that leave are what many tests are about, and worth no word."""

    daemon_threads = True

    def handle_error(self, *request: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*request)  # type: ignore[arg-type]


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a web server on this machine."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def files_of(folder: Path) -> type[SimpleHTTPRequestHandler]:
    """An ordinary web server's handler for `folder`."""

    class Files(SimpleHTTPRequestHandler):
        """Says nothing on standard error."""

        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    return Files


def content(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(
    place: Place, match: str, name: str = IMAGE, source: str = "", patience: float = 60
) -> None:
    """The pull is refused in one sentence; what was there is there, and nothing else."""
    before = content(place.got)
    with pytest.raises(InputError, match=match) as caught:
        place.pull(name, source=source, patience_s=patience)
    assert "\n" not in caught.value.what and caught.value.hint
    assert content(place.got) == before
    assert not [path for path in os.listdir(place.got) if path.startswith(".")]
