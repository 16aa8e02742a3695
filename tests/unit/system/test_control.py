"""The control channel's client against a scripted process 1."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from onejob.model.errors import ServiceError
from onejob.system.control import Control

Script = Callable[[dict[str, Any]], dict[str, Any] | None]


class ProcessOne:
    """Answers each request with what `script` makes of it; None is no answer."""

    def __init__(self, script: Script) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.script = script
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with self.ours.makefile("r") as lines:
            for line in lines:
                request = json.loads(line)
                reply = self.script(request)
                if reply is not None:
                    self.say({"id": request["id"], **reply})

    def say(self, message: dict[str, Any]) -> None:
        self.ours.sendall(json.dumps(message).encode() + b"\n")

    def hang_up(self) -> None:
        self.ours.shutdown(socket.SHUT_RDWR)
        self.ours.close()


Connect = Callable[[Script], tuple[ProcessOne, Control]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[tuple[ProcessOne, Control]] = []

    def make(script: Script) -> tuple[ProcessOne, Control]:
        one = ProcessOne(script)
        made.append((one, Control(one.theirs)))
        return made[-1]

    yield make
    for one, control in made:
        control.close()
        one.ours.close()


def test_a_request_brings_its_value(connect: Connect) -> None:
    _, control = connect(lambda request: {"ok": [request["do"], request["path"]]})
    assert control.request("exists", path="/a b") == ["exists", "/a b"]


def test_a_refusal_is_an_error_with_its_words(connect: Connect) -> None:
    _, control = connect(lambda _: {"error": "rename /a: No such file or directory"})
    with pytest.raises(ServiceError, match=r"^rename /a: No such file or directory$"):
        control.request("rename")


def test_no_answer_ends_in_time(connect: Connect) -> None:
    _, control = connect(lambda _: None)
    with pytest.raises(ServiceError, match=r"control: stop: no answer within 0.1 s"):
        control.request("stop", timeout=0.1)
    time.sleep(0.2)  # the time-out of a request must not end the reader
    assert not control.ended


def test_a_late_answer_is_not_taken_for_another(connect: Connect) -> None:
    waiting: list[int] = []

    def script(request: dict[str, Any]) -> dict[str, Any] | None:
        if request["do"] == "slow":
            waiting.append(request["id"])
            return None
        one.say({"id": waiting[0], "ok": "late"})
        return {"ok": "mine"}

    one, control = connect(script)
    with pytest.raises(ServiceError):
        control.request("slow", timeout=0.05)
    assert control.request("quick") == "mine"


def test_events_come_between(connect: Connect) -> None:
    one, control = connect(lambda _: {"ok": None})
    assert control.wait_event("started", 0.01) is None
    one.say({"event": "started", "pid": 7})
    one.say({"event": "denied", "call": 101})
    assert control.wait_event("started", 5.0) == {"event": "started", "pid": 7}
    assert control.wait_event("denied", 5.0) is not None
    assert [e["call"] for e in control.events("denied")] == [101]


def test_the_end_wakes_whoever_waits(connect: Connect) -> None:
    one, control = connect(lambda _: None)
    threading.Timer(0.1, one.hang_up).start()
    begun = time.monotonic()
    assert control.wait_event("exited", 30.0) is None
    assert control.ended
    with pytest.raises(ServiceError, match="process 1 is gone"):
        control.request("processes")
    assert time.monotonic() - begun < 10


def test_noise_on_the_line_is_skipped(connect: Connect) -> None:
    one, control = connect(lambda _: {"ok": 1})
    one.ours.sendall(b'lf of a line"}\n[]\n\n')
    assert control.request("denials") == 1


def test_a_file_is_read_in_pieces(connect: Connect) -> None:
    content = bytes(range(256)) * 600

    def script(request: dict[str, Any]) -> dict[str, Any]:
        piece = content[request["offset"] : request["offset"] + request["length"]]
        eof = request["offset"] + request["length"] >= len(content)
        return {"ok": {"data": base64.b64encode(piece).decode(), "eof": eof}}

    _, control = connect(script)
    assert control.read_file("/log") == content
