"""Wait until a service is ready, and say how long that took.

A connection that is accepted proves nothing (QEMU's user network accepts before the guest is up),
so the http way wants an answer. Requests overlap: one that got lost while the place was coming up
delays nothing.
"""

import contextlib
import os
import re
import selectors
import socket
import time
from collections.abc import Callable

from onejob.drive.target import Target
from onejob.drive.web import Place, open_socket, split_url
from onejob.model.errors import ServiceError
from onejob.model.workload import Ready, Workload, fill

POLL_S = 0.005
OVERLAP_S = 0.05  # a further attempt starts while the ones before are still waiting
MAX_PENDING = 16
SHORTEST_ATTEMPT_S, LONGEST_ATTEMPT_S = 0.5, 5.0
STAYS_OPEN_S = 0.1  # a forwarder that finds nobody listening hangs up sooner than this
TAIL_LINES = 20

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d\d\d)[ \r]")


def wait_ready(target: Target, workload: Workload, since: float) -> float:
    """Seconds from `since` (time.monotonic() at the start) until the service is ready.

    Ready is: an HTTP answer of 2xx or 3xx, an accepted connection that stays open or on which a
    text comes, or a text in the output. ServiceError where the service ends first or
    ``ready.within`` is over.
    """
    ready = workload.readiness()
    look = _way(target, ready, workload)
    try:
        return _wait(target, workload, look, since)
    finally:
        look.close()


class _Look:
    """One way to see readiness; looked at again and again."""

    last = "no answer"

    def once(self) -> float | None:
        """When it was seen to be ready (time.monotonic), or None after at most POLL_S."""
        raise NotImplementedError

    def close(self) -> None:
        """Give up what is open."""


def _way(target: Target, ready: Ready, workload: Workload) -> _Look:
    if ready.log is not None:
        return _LogLook(target.output, ready.log)
    if ready.http is not None:
        addresses = {port: target.address(port) for port in workload.ports}
        place = split_url(fill(ready.http, addresses, "ready"))
    else:
        place = split_url(f"http://{target.address(ready.tcp or 0)}/")
    says = None if ready.says is None else ready.says.encode()
    return _NetLook(target, place, http=ready.http is not None, says=says)


def _wait(target: Target, workload: Workload, look: _Look, since: float) -> float:
    within = workload.readiness().within
    while (seen := look.once()) is None:
        ended = target.exited()
        if ended is not None:
            what = f"{workload.name} ended with {ended} before it was ready"
            raise ServiceError(with_output(what, target, workload.name))
        if time.monotonic() - since > within:
            what = f"{workload.name} was not ready within {within:g} s ({look.last})"
            hint = "see its output above, or raise ready.within in the workload"
            raise ServiceError(with_output(what, target, workload.name), hint)
    return seen - since


def with_output(what: str, target: Target, name: str) -> str:
    """`what` with the last lines that the service printed."""
    lines = target.output().rstrip().splitlines()[-TAIL_LINES:]
    return "\n".join(
        [what, f"last output of {name}:", *(f"  {x}" for x in lines)] if lines else [what]
    )


class _LogLook(_Look):
    """Ready when the output has a text in it."""

    def __init__(self, output: Callable[[], str], text: str) -> None:
        self._output, self._text = output, text
        self.last = f"no {text!r} in its output"

    def once(self) -> float | None:
        if self._text in self._output():
            return time.monotonic()
        time.sleep(POLL_S)
        return None


class _NetLook(_Look):
    """Ready when an HTTP request is answered, what `says` is said, or a connection stays open."""

    def __init__(self, target: Target, place: Place, *, http: bool, says: bytes | None) -> None:
        self._target, self._place, self._http, self._says = target, place, http, says
        # Who speaks first is about to serve each that connects, and may have room for few.
        self._most = MAX_PENDING if says is None else 1
        self._selector = selectors.DefaultSelector()
        self._begun = time.monotonic()
        self._next = 0.0

    def once(self) -> float | None:
        now = time.monotonic()
        self._drop_old(now)
        if now >= self._next and len(self._selector.get_map()) < self._most:
            self._start(now)
        if not self._selector.get_map():
            time.sleep(POLL_S)
            return None
        for key, _ in self._selector.select(POLL_S):
            if key.data.step(self):
                return float(key.data.ready_at)
        return self._held_open(time.monotonic())

    def _start(self, now: float) -> None:
        self._next = now + OVERLAP_S
        lasts = min(max((now - self._begun) / 4, SHORTEST_ATTEMPT_S), LONGEST_ATTEMPT_S)
        connection = open_socket(self._target.network, self._place.host)
        connection.setblocking(False)
        connection.connect_ex((self._place.host, self._place.port))
        attempt = _Attempt(connection, now + lasts)
        self._selector.register(connection, selectors.EVENT_WRITE, attempt)

    def connected(self, attempt: "_Attempt") -> None:
        """The connection is made: ask, then wait for what comes."""
        if self._http:
            host = f"{self._place.host}:{self._place.port}"
            request = (
                f"GET {self._place.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            )
            attempt.connection.sendall(request.encode("ascii", "replace"))
        self._selector.modify(attempt.connection, selectors.EVENT_READ, attempt)

    def failed(self, attempt: "_Attempt", why: str) -> None:
        """That attempt came to nothing; the next may start at once, after one poll interval."""
        self.last = why
        self._next = min(self._next, time.monotonic() + POLL_S)
        self._drop(attempt)

    def answered(self, attempt: "_Attempt", data: bytes) -> bool:
        """Whether `data`, all that came so far, says ready."""
        if not self._http:
            return self._says is None or self._says in data
        match = _STATUS_LINE.match(data)
        if match and 200 <= int(match[1]) < 400:
            return True
        if match or len(data) > 64:
            self.failed(attempt, f"the answer was {data[:40]!r}")
        return False

    def _held_open(self, now: float) -> float | None:
        if self._http or self._says is not None:
            return None
        for key in self._selector.get_map().values():
            made = key.data.connected_at
            if made is not None and now - made >= STAYS_OPEN_S:
                return float(made)
        return None

    def _drop_old(self, now: float) -> None:
        for key in list(self._selector.get_map().values()):
            if now > key.data.deadline:
                self.last = "a request was not answered"
                self._drop(key.data)

    def _drop(self, attempt: "_Attempt") -> None:
        self._selector.unregister(attempt.connection)
        attempt.connection.close()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._drop(key.data)
        self._selector.close()


class _Attempt:
    """One connection on its way."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.connected_at: float | None = None
        self.ready_at = 0.0
        self._data = b""

    def step(self, look: _NetLook) -> bool:
        """Something happened on it; True when that means ready."""
        try:
            if self.connected_at is None:
                return self._connected(look)
            return self._received(look)
        except OSError as error:
            look.failed(self, error.strerror or str(error))
            return False

    def _connected(self, look: _NetLook) -> bool:
        number = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))
        self.connected_at = time.monotonic()
        look.connected(self)
        return False

    def _received(self, look: _NetLook) -> bool:
        with contextlib.suppress(BlockingIOError):
            data = self.connection.recv(4096)
            if not data:
                raise OSError(0, "hung up without an answer")
            self._data += data
        self.ready_at = time.monotonic()
        return look.answered(self, self._data)
