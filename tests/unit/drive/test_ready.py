"""Readiness: seen by an answer, a connection or a text; its absence explained."""

import socket
import threading
import time

import pytest

from onejob.drive.ready import wait_ready
from onejob.model.errors import ServiceError
from onejob.model.workload import Ready, Workload

from .conftest import LocalTarget, StartService


def workload_for(target: LocalTarget, **ready: object) -> Workload:
    ready.setdefault("within", 20.0)
    return Workload(
        name="sample", command=("sample",), ports=(target.port,), ready=Ready.model_validate(ready)
    )


@pytest.mark.parametrize("way", ["http", "tcp", "log"])
def test_each_way_sees_a_service_come_up(start_service: StartService, way: str) -> None:
    since = time.monotonic()
    target = start_service()
    ready = {
        "http": {"http": f"http://{{address:{target.port}}}/"},
        "tcp": {"tcp": target.port},
        "log": {"log": "service is up"},
    }[way]
    seconds = wait_ready(target, workload_for(target, **ready), since)
    assert 0 < seconds <= time.monotonic() - since


@pytest.mark.parametrize("way", ["http", "tcp", "log"])
def test_a_service_that_ends_first_is_explained(start_service: StartService, way: str) -> None:
    target = start_service("dies-at-start")
    ready = {
        "http": {"http": f"http://{{address:{target.port}}}/"},
        "tcp": {"tcp": target.port},
        "log": {"log": "service is up"},
    }[way]
    with pytest.raises(ServiceError) as caught:
        wait_ready(target, workload_for(target, **ready), time.monotonic())
    assert "sample ended with status 1 before it was ready" in caught.value.what
    assert "cannot find my configuration" in caught.value.what


def test_time_over_says_what_was_last_seen(start_service: StartService) -> None:
    target = start_service("never-ready")
    url = f"http://{{address:{target.port}}}/"
    with pytest.raises(ServiceError, match=r"not ready within 0.3 s \(Connection refused\)"):
        wait_ready(target, workload_for(target, http=url, within=0.3), time.monotonic())


def test_an_error_answer_is_not_ready(start_service: StartService) -> None:
    target = start_service("answers-500")
    url = f"http://{{address:{target.port}}}/"
    with pytest.raises(ServiceError, match="500 No"):
        wait_ready(target, workload_for(target, http=url, within=1.5), time.monotonic())


class SilentForwarder:
    """Accepts at once as QEMU's user network does, and answers only connections made later."""

    def __init__(self, port: int, silent_s: float) -> None:
        self.listening = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listening.bind(("127.0.0.1", port))
        self.listening.listen(64)
        self.awake = time.monotonic() + silent_s
        self.lost: list[socket.socket] = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            if time.monotonic() < self.awake:
                self.lost.append(connection)
                continue
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
            connection.close()

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        for connection in (self.listening, *self.lost):
            connection.close()


def test_requests_lost_while_the_place_comes_up_delay_nothing(start_service: StartService) -> None:
    target = start_service("never-ready")
    forwarder = SilentForwarder(target.port, silent_s=0.7)
    try:
        url = f"http://{{address:{target.port}}}/"
        seconds = wait_ready(target, workload_for(target, http=url), time.monotonic())
    finally:
        forwarder.close()
    assert seconds >= 0.6
    assert len(forwarder.lost) > 1


@pytest.mark.parametrize("words", [b"220 sample ready\r\n", b"421 later\r\n"])
def test_who_speaks_first_is_ready_when_it_does_and_not_when_it_listens(
    start_service: StartService, words: bytes
) -> None:
    """exim4 listens, makes itself a certificate, and then greets."""
    target, late = start_service("never-ready"), 0.4
    with socket.create_server(("127.0.0.1", target.port)) as listening:

        def greet() -> None:
            time.sleep(late)
            with listening.accept()[0] as connection:
                connection.sendall(words)
                connection.recv(1)

        since = time.monotonic()
        greeter = threading.Thread(target=greet, daemon=True)
        greeter.start()
        workload = workload_for(target, tcp=target.port, says="220 ", within=1.0)
        if words.startswith(b"220"):
            assert wait_ready(target, workload, since) >= late
        else:
            with pytest.raises(ServiceError, match="not ready within"):
                wait_ready(target, workload, since)
        greeter.join(5)
