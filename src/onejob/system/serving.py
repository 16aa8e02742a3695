"""A small server at a Unix socket or a TCP port, in threads of this process."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from onejob.model.errors import InputError, LacksError

_QUEUE = 64  # at a Unix socket, connect fails where it is full


class Place(NamedTuple):
    """Where something is served: at a Unix socket, if there is a `path`, or else at a TCP port."""

    path: Path | None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.host}:{self.port}"


def parse_place(text: str, option: str) -> Place:
    """``unix:PATH``, ``PORT`` of this machine alone, or ``ADDRESS:PORT``; `option` is for words."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Place(Path(rest).absolute())
    host, _, port = text.rpartition(":")
    if port.isascii() and port.isdecimal() and 0 < int(port) < 65536:
        return Place(None, host.strip("[]") or "127.0.0.1", int(port))
    raise InputError(f"{option} {text}: not unix:PATH or PORT", f"for example {option} 9100")


class _Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = _QUEUE

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has left: it is nobody's business."""


class _Tcp(_Threads, socketserver.TCPServer):
    pass


class _Tcp6(_Tcp):
    address_family = socket.AF_INET6


class _Unix(_Threads, socketserver.UnixStreamServer):
    pass


@contextmanager
def served(place: Place, handler: type[socketserver.BaseRequestHandler]) -> Iterator[None]:
    """Have `handler` answer at `place` as long as the context lasts.

    A Unix socket is for this user alone. LacksError where the place is taken.
    """
    with _bound(place, handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            if place.path:
                with suppress(OSError):
                    place.path.unlink()


def _bound(place: Place, handler: type[socketserver.BaseRequestHandler]) -> socketserver.BaseServer:
    try:
        if place.path:
            server = _Unix(str(place.path), handler)
            place.path.chmod(0o600)
            return server
        return (_Tcp6 if ":" in place.host else _Tcp)((place.host, place.port), handler)
    except OSError as error:
        raise LacksError(f"{place}: {error.strerror}", "choose another place") from error


def connect(place: Place, timeout: float) -> socket.socket:
    """A connection to whoever answers at `place`; OSError where nobody does."""
    if not place.path:
        return socket.create_connection((place.host, place.port), timeout)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(str(place.path))
    except OSError:
        connection.close()
        raise
    return connection
