"""The little HTTP that drills need: one request with its whole answer, and one held half sent.

Sockets are made inside the target's network namespace and used from here: a socket stays in the
namespace that it was made in.
"""

import http.client
import ipaddress
import socket
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from onejob.base.linux import in_network
from onejob.model.errors import InputError

MAX_BODY_BYTES = 256 * 1024 * 1024


class Place(NamedTuple):
    """Where a URL points: what to connect to and what to ask for there."""

    host: str
    port: int
    path: str


class Answer(NamedTuple):
    """A whole answer: its status and how many bytes of body came."""

    status: int
    length: int


def split_url(url: str) -> Place:
    """The parts of an http URL; InputError for anything else."""
    try:
        parts = urlsplit(url)
        place = Place(parts.hostname or "", parts.port or 80, parts.path or "/")
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme != "http" or not place.host:
        raise InputError(f"{url!r}: only http://HOST[:PORT]/PATH can be asked here")
    return place._replace(path=f"{place.path}?{parts.query}") if parts.query else place


def open_socket(network: Path | None, host: str) -> socket.socket:
    """An unconnected TCP socket in `network` of the family that `host` needs."""
    family = socket.AF_INET6 if _is_ipv6(host) else socket.AF_INET
    return in_network(network, lambda: socket.socket(family, socket.SOCK_STREAM))


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def ask(network: Path | None, url: str, timeout: float) -> Answer:
    """GET `url` within `timeout` seconds, the answer read whole.

    Raises OSError or http.client.HTTPException where no whole answer came.
    """
    request = begin_request(network, url, timeout)
    return request.complete(timeout)


def begin_request(network: Path | None, url: str, timeout: float) -> "HeldRequest":
    """Connect and send the request line and the first half of the headers."""
    place = split_url(url)
    connection = open_socket(network, place.host)
    try:
        connection.settimeout(timeout)
        connection.connect((place.host, place.port))
        host = f"[{place.host}]" if ":" in place.host else place.host
        head = f"GET {place.path} HTTP/1.1\r\nHost: {host}:{place.port}\r\n"
        connection.sendall(head.encode("ascii", "replace"))
    except BaseException:
        connection.close()
        raise
    return HeldRequest(connection)


class HeldRequest:
    """A request of which the service has only the first half."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def name(self) -> tuple[int, int]:
        """The ports of the connection: ours, the service's."""
        return self._connection.getsockname()[1], self._connection.getpeername()[1]

    def complete(self, timeout: float) -> Answer:
        """Send the rest and read the whole answer, within `timeout` seconds; then hang up."""
        deadline = time.monotonic() + timeout
        with self._connection as connection:
            connection.settimeout(timeout)
            connection.sendall(b"User-Agent: onejob\r\nAccept: */*\r\nConnection: close\r\n\r\n")
            response = http.client.HTTPResponse(connection, method="GET")
            try:
                response.begin()
                return Answer(response.status, _read_whole(response, deadline))
            finally:
                response.close()

    def drop(self) -> None:
        """Hang up without completing."""
        self._connection.close()


def _read_whole(response: http.client.HTTPResponse, deadline: float) -> int:
    """The number of body bytes; IncompleteRead where fewer came than announced."""
    length = 0
    while chunk := response.read1(65536):
        length += len(chunk)
        if time.monotonic() > deadline or length > MAX_BODY_BYTES:
            raise TimeoutError("the answer did not end in time")
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return length
