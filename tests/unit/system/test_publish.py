"""The forwarder: into the namespace, half-closes kept, bounded, gone afterwards."""

import socket
import threading
from pathlib import Path

import pytest

from onejob.base.linux import in_network
from onejob.model.errors import LacksError
from onejob.system.network import Publish, free_port, private_network
from onejob.system.publish import published

pytestmark = pytest.mark.root


class Echo:
    """In the namespace: answers with all it got, but only after the client's half-close."""

    def __init__(self, network: Path) -> None:
        self.server = in_network(network, lambda: socket.create_server(("127.0.0.1", 80)))
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                data = b""
                while chunk := connection.recv(65536):
                    data += chunk
                connection.sendall(data[::-1])

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(5)


def test_forwards_both_ways_with_half_close() -> None:
    port = free_port()
    data = bytes(range(256)) * 20_000
    with private_network() as network, published(network, [Publish("127.0.0.1", port, 80)]):
        echo = Echo(network)
        try:
            for _ in range(3):
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    with client.makefile("rb") as answer:
                        assert answer.read() == data[::-1]
        finally:
            echo.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_nobody_inside_is_a_reset() -> None:
    port = free_port()
    with (
        private_network() as network,
        published(network, [Publish("127.0.0.1", port, 80)]),
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)


def test_a_taken_port_is_refused_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, private_network() as network:
        publish = [Publish("127.0.0.1", taken.getsockname()[1], 80)]
        with pytest.raises(LacksError, match="in use"), published(network, publish):
            pass
