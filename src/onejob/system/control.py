"""A client of process 1's control channel: lines of JSON over a connected socket."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from onejob.model.errors import ServiceError

REQUEST_TIMEOUT_S = 10.0
READ_PIECE = 65536  # what process 1 gives at most
LONGEST_LINE = 4 * 1024 * 1024
MAX_FILE_BYTES = 64 * 1024 * 1024

Message = dict[str, Any]


class Control:
    """Requests and their replies, and the events that come in between.

    `on_event` is called from the reader's thread.
    """

    def __init__(
        self, connection: socket.socket, on_event: Callable[[Message], None] | None = None
    ) -> None:
        self._connection = connection
        self._on_event = on_event
        self._changed = threading.Condition()
        self._replies: dict[int, Message] = {}
        self._events: list[Message] = []
        self._sending = threading.Lock()
        self._last_id = 0
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(2.0)
        self._connection.close()

    def request(self, do: str, timeout: float = REQUEST_TIMEOUT_S, **fields: object) -> Any:
        """What process 1 answers to `do`, within `timeout` seconds.

        ServiceError where it refuses, does not answer in time, or is gone.
        """
        with self._changed:
            self._last_id += 1
            number = self._last_id
        line = json.dumps({"id": number, "do": do, **fields}).encode() + b"\n"
        try:
            with self._sending:
                self._connection.settimeout(timeout)
                self._connection.sendall(line)
        except OSError as error:
            raise ServiceError(f"control: {do}: process 1 is gone ({error})") from error
        return self._reply(number, do, timeout)

    def _reply(self, number: int, do: str, timeout: float) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: number in self._replies or self._ended, timeout)
            reply = self._replies.pop(number, None)
            ended = self._ended
        if reply is None:
            why = "process 1 is gone" if ended else f"no answer within {timeout:g} s"
            raise ServiceError(f"control: {do}: {why}")
        if "error" in reply:
            raise ServiceError(str(reply["error"]))
        return reply.get("ok")

    def events(self, name: str) -> tuple[Message, ...]:
        """The events called `name` so far."""
        with self._changed:
            return tuple(event for event in self._events if event.get("event") == name)

    def wait_event(self, name: str, timeout: float) -> Message | None:
        """The first event called `name`; None where the channel ends or time is over first."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [event for event in self._events if event.get("event") == name]
                left = deadline - time.monotonic()
                if found or self._ended or left <= 0:
                    return found[0] if found else None
                self._changed.wait(left)

    @property
    def ended(self) -> bool:
        """Whether process 1 has hung up."""
        with self._changed:
            return self._ended

    def read_file(self, path: str) -> bytes:
        """The file at `path` where the service is; ServiceError above MAX_FILE_BYTES."""
        content = b""
        while len(content) <= MAX_FILE_BYTES:
            reply = self.request("read", path=path, offset=len(content), length=READ_PIECE)
            content += base64.b64decode(reply["data"], validate=True)
            if reply["eof"]:
                return content
        raise ServiceError(f"read {path}: larger than {MAX_FILE_BYTES} bytes")

    def _read(self) -> None:
        try:
            for line in self._lines():
                self._take(line)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _lines(self) -> Iterator[bytes]:
        data = b""
        while chunk := self._receive():
            data += chunk
            *lines, data = data.split(b"\n")
            yield from lines
            if len(data) > LONGEST_LINE:
                return

    def _receive(self) -> bytes:
        """Some bytes; none at the end. A time-out set by request() is no end."""
        while True:
            try:
                return self._connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return b""

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # the first line may be the end of one that an earlier host did not read
        if not isinstance(message, dict):
            return
        with self._changed:
            if "event" in message:
                self._events.append(message)
            elif isinstance(message.get("id"), int):
                self._replies[message["id"]] = message
            self._changed.notify_all()
        if "event" in message and self._on_event is not None:
            self._on_event(message)
