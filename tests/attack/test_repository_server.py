"""Web servers that never end, stall or drip: whoever pulls leaves them, and nothing is written."""

import os
import shutil
import time
from http.server import BaseHTTPRequestHandler

import pytest

from onejob.model.errors import InputError
from onejob.repository.keys import TRUST
from some_repositories import IMAGE, PROFILE, Place, content, files_of, make_place, refused, served

PATIENCE_S = 0.5  # for the server of an attack; honest ones have a minute


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A repository that is good, and somebody who has pulled from it."""
    place = make_place(tmp_path_factory.mktemp("good"))
    place.pull()
    return place


class Hostile(BaseHTTPRequestHandler):
    """Answers every request for metadata in one of several bad ways, until the client leaves."""

    protocol_version = "HTTP/1.1"
    way = ""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Be bad, and do not mind that the client goes."""
        try:
            getattr(self, self.way)()
        except OSError:
            pass
        self.close_connection = True

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 65536)

    def endless_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    def endless_header(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            self.wfile.write(b"X-More: " + b"x" * 60000 + b"\r\n")

    def silence(self) -> None:
        time.sleep(3)

    def dripping_header(self) -> None:
        self._drip(b"HTTP/1.1 200 OK\r\nX-More: ")

    def dripping_body(self) -> None:
        self._drip(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")

    def stalled_body(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{")
        time.sleep(3)

    def cut_body(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n{")

    def circle(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def nonsense(self) -> None:
        self.wfile.write(b"\0\xff" * 1000)

    def failing(self) -> None:
        self.send_error(500)

    def _drip(self, first: bytes) -> None:
        self.wfile.write(first)
        for _ in range(400):
            self.wfile.write(b"x")
            time.sleep(0.05)


BAD = {
    "endless": "sends more than was signed",
    "endless_chunks": "sends more than was signed",
    "endless_header": "cannot be read",
    "silence": "answers too slowly",
    "dripping_header": "answers too slowly",
    "dripping_body": "answers too slowly",
    "stalled_body": "answers too slowly",
    "cut_body": "cannot be read",
    "circle": "cannot be read",
    "nonsense": "cannot be read",
    "failing": "does not have all that it should",
}


@pytest.mark.parametrize(("way", "words"), BAD.items())
def test_a_server_that_never_ends_or_stalls(place: Place, way: str, words: str) -> None:
    handler = type("Bad", (Hostile,), {"way": way})
    slow = PATIENCE_S if words == "answers too slowly" else 60
    before = content(place.got)
    known = os.listdir(place.state / "repositories")
    with served(handler) as address, pytest.raises(InputError, match=words) as caught:
        place.pull(source=address, trust=place.keys / TRUST, patience_s=slow)
    assert "\n" not in caught.value.what and caught.value.what.startswith(address)
    assert content(place.got) == before
    assert os.listdir(place.state / "repositories") == known, "the hostile server is remembered"


@pytest.mark.parametrize("way", ["endless", "dripping_body"])
def test_a_server_that_is_bad_only_with_a_part(place: Place, way: str) -> None:
    honest = files_of(place.repository)

    class Mixed(honest, Hostile):  # type: ignore[misc, valid-type]
        """Honest until the root is asked for."""

        def do_GET(self) -> None:
            if self.path.endswith(".root.img"):
                self.way = way
                Hostile.do_GET(self)
            else:
                honest.do_GET(self)

    shutil.rmtree(place.got / IMAGE, ignore_errors=True)
    with served(Mixed) as address:
        place.pull(PROFILE, source=address, trust=place.keys / TRUST)
        words = "answers too slowly" if way == "dripping_body" else "sends more than was signed"
        refused(place, words, source=address, patience=3 if way == "dripping_body" else 60)
