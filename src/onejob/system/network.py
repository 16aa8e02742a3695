"""A network namespace of one's own, and ports of this one."""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from onejob.base.linux import CLONE_NEWNET, in_network, unshare
from onejob.model.errors import InputError, LacksError

SIOCSIFFLAGS = 0x8914  # netdevice(7)
IFF_UP = 1
_LISTENING = "0A"


class Publish(NamedTuple):
    """Port `port` of the service is to be reached at `host`:`host_port`."""

    host: str
    host_port: int
    port: int


def parse_publish(text: str) -> Publish:
    """``[ADDRESS:]HOSTPORT:PORT``; without an address, only this machine reaches it."""
    *address, host_port, port = ("", *text.rsplit(":", 2))[-3:] if ":" in text else ("", "", "")
    numbers = [int(n) for n in (host_port, port) if n.isdecimal() and 0 < int(n) < 65536]
    if len(numbers) != 2:
        raise InputError(f"--publish {text}: not HOSTPORT:PORT", "for example --publish 8080:80")
    return Publish((address[0] or "127.0.0.1").strip("[]"), *numbers)


@contextmanager
def private_network(settings: Mapping[str, str] | None = None) -> Iterator[Path]:
    """A new network namespace with its loopback up; it lives as long as the context.

    `settings` below ``net`` are set in it as far as this kernel has them for each namespace.
    """
    descriptor = _new_network()
    path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    try:
        in_network(path, lambda: _prepare(settings or {}))
        yield path
    finally:
        os.close(descriptor)


def _new_network() -> int:
    """A descriptor of a namespace that a short-lived thread made; it keeps it alive."""
    made: list[int] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            unshare(CLONE_NEWNET)
            made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise LacksError(f"no network namespace of its own: {failed[0].strerror}")
    return made[0]


def _prepare(settings: Mapping[str, str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    for name, value in settings.items():
        if name.startswith("net."):
            with suppress(OSError):  # most are the whole machine's, and not there to see
                Path("/proc/sys", *name.split(".")).write_text(value)


def free_port() -> int:
    """A loopback port that nobody uses at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def need_port(publish: Publish) -> None:
    """LacksError naming the port and its holder where it cannot be bound."""
    family = socket.AF_INET6 if ":" in publish.host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((publish.host, publish.host_port))
        except OSError as error:
            holder = port_holder(publish.host_port)
            what = f"port {publish.host_port} on {publish.host}: {error.strerror}"
            what += f" by {holder}" if holder else ""
            hint = "end that program, or publish on another port"
            raise LacksError(what, hint) from error


def port_holder(port: int) -> str:
    """``name (process N)`` of who listens on TCP `port` here; empty where that cannot be seen."""
    inodes = {f"socket:[{inode}]" for inode in inodes_listening(port)}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if inodes & {link_text(folder / "fd" / name) for name in os.listdir(folder / "fd")}:
                return f"{(folder / 'comm').read_text().strip()} (process {folder.name})"
    return ""


def link_text(path: Path) -> str:
    """Where a link of /proc leads; empty where it is gone."""
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed meanwhile


def inodes_listening(port: int) -> list[str]:
    """Of sockets that listen on TCP `port` here."""
    found = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.append(fields[9])
    return found
