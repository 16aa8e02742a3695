"""Ports, published and taken, and a network of one's own."""

import os
import socket
from pathlib import Path

import pytest

from onejob.base.linux import in_network
from onejob.model.errors import InputError, LacksError
from onejob.system.network import (
    Publish,
    free_port,
    need_port,
    parse_publish,
    port_holder,
    private_network,
)


@pytest.mark.parametrize(
    ("text", "publish"),
    [
        ("8080:80", Publish("127.0.0.1", 8080, 80)),
        ("0.0.0.0:8080:80", Publish("0.0.0.0", 8080, 80)),
        ("[::1]:8080:80", Publish("::1", 8080, 80)),
    ],
)
def test_publish_words(text: str, publish: Publish) -> None:
    assert parse_publish(text) == publish


@pytest.mark.parametrize("text", ["", "80", "a:80", "0:80", "80:65536", "80:", ":80"])
def test_publish_refuses(text: str) -> None:
    with pytest.raises(InputError, match="not HOSTPORT:PORT"):
        parse_publish(text)


def test_a_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        holder = f"(process {os.getpid()})"
        assert holder in port_holder(port)
        with pytest.raises(LacksError) as caught:
            need_port(Publish("127.0.0.1", port, 80))
        assert f"port {port} on 127.0.0.1: Address already in use by " in caught.value.what
        assert holder in caught.value.what
    need_port(Publish("127.0.0.1", port, 80))
    need_port(Publish("127.0.0.1", free_port(), 80))


def read_setting() -> str:
    return Path("/proc/sys/net/core/somaxconn").read_text().strip()


@pytest.mark.root
def test_a_private_network_has_a_loopback_and_its_own_settings() -> None:
    outside, before = read_setting(), os.readlink("/proc/self/ns/net")
    settings = {"net.core.somaxconn": "77", "net.no.such": "1"}
    with private_network(settings) as network:
        assert in_network(network, read_setting) == "77"
        with in_network(network, lambda: socket.create_server(("127.0.0.1", 80))) as server:
            with in_network(network, socket.socket) as client:
                client.connect(("127.0.0.1", 80))
            assert server.getsockname() == ("127.0.0.1", 80)
    assert not network.exists()
    assert (read_setting(), os.readlink("/proc/self/ns/net")) == (outside, before)
