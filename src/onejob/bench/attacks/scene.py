"""Where attacks happen: the vulnerable service as it runs somewhere, and what can be seen of it."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from onejob.base import linux
from onejob.base.linux import in_network
from onejob.bench.attacks.victim import DATA, GREETING, MARK, PORT, Victim
from onejob.bench.watched import unwatched
from onejob.model import container
from onejob.model.errors import ServiceError
from onejob.model.image import Image
from onejob.system.host import host_instance, private_folder
from onejob.system.network import free_port
from onejob.system.qemu import qemu_instance

_DATA_KIB = 24 * 1024
_OUTSIDE_PORT = 7999
_READY_S = 60.0
_HEAR_S = 0.5
# What spares the machine that shows attacks: a small disk, and a /dev that is a copy.
_STOCK = """
mount -t tmpfs none {secret}
mount -t tmpfs -o size={size_kib}k none {data}
mkdir "$2" "$3"
mkdir {secret}/dev
mount -t tmpfs none {secret}/dev
for name in null zero full random urandom tty kmsg ttyS0 loop-control fuse; do
    if [ -e /dev/$name ]; then cp -a /dev/$name {secret}/dev/; fi
done
mount --move {secret}/dev /dev
exec "$@"
"""


class Seen(Protocol):
    """What of an onejob.drive Target attacks are judged by."""

    @property
    def network(self) -> Path | None:
        """The network namespace from which `address` is reached."""

    def address(self, port: int) -> str:
        """``host:port`` where `port` of the service is reached."""

    def exists(self, path: str) -> bool:
        """Whether the service would find `path`."""

    def contains(self, path: str, text: str) -> bool:
        """Whether the file at `path` has `text` in it."""


@dataclass(frozen=True)
class Scene:
    """The service running somewhere. `patience`: seconds that an answer may take.

    `outside` listens for whoever gets out; `names` are those of the attacks' texts.
    """

    target: Seen
    outside: "Outside"
    names: Mapping[str, str]
    patience: float
    greeting: str = GREETING

    def named(self, text: str) -> str:
        """`text` with the names filled in."""
        return text.format_map(self.names)

    def ask(self, line: str) -> str:
        """What the service answers; empty where it hangs up, or says nothing in time."""
        try:
            return in_network(self.target.network, lambda: self._talk(line))
        except OSError:
            return ""

    def _talk(self, line: str) -> str:
        host, _, port = self.target.address(PORT).rpartition(":")
        with socket.create_connection((host, int(port)), timeout=self.patience) as connection:
            connection.sendall(line.encode() + b"\n")
            return connection.recv(600).decode(errors="replace").strip()

    def serves(self) -> bool:
        """Whether the service does its job; asked until it does, or patience is at its end."""
        end = time.monotonic() + self.patience
        while self.ask("hello") != self.greeting:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


class Outside:
    """A listener beyond the service's reach: TCP and UDP, at the same port."""

    def __init__(self, host: str, port: int) -> None:
        self._sockets = [socket.socket(type=k) for k in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        self._sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in self._sockets:
            each.bind((host, port))
            each.settimeout(_HEAR_S)
        self._sockets[0].listen(8)

    def close(self) -> None:
        """Listen no more."""
        for each in self._sockets:
            each.close()

    def heard(self) -> bool:
        """Whether somebody got out, on one way or the other."""
        return self._accepted() or self._received()

    def _accepted(self) -> bool:
        with suppress(TimeoutError):
            connection, _ = self._sockets[0].accept()
            with connection:
                connection.settimeout(_HEAR_S)
                return MARK.encode() in connection.recv(100)
        return False

    def _received(self) -> bool:
        with suppress(TimeoutError):
            return MARK.encode() in self._sockets[1].recv(100)
        return False


@contextmanager
def secret_folder() -> Iterator[Path]:
    """A folder with a file of this machine's that no service has to do with."""
    with private_folder() as folder:
        (folder / "secret").write_text("the secret\n")
        yield folder


@contextmanager
def stock_scene(victim: Victim, secret: Path, greeting: str = GREETING) -> Iterator[Scene]:
    """The service as this machine's distribution runs it: a process of root's, and no more.

    It has namespaces of its own, so that it spoils nothing: an overlay over all files, a network
    with a loopback. `secret`, a folder, is hidden from it; its data has a small disk of its own.
    """
    words = victim.workload.command
    script = _STOCK.format(secret=secret, size_kib=_DATA_KIB, data=DATA)
    command = ("/bin/sh", "-ec", script, "sh", *words)
    workload = victim.workload.model_copy(update={"command": command})
    with unwatched(workload) as service:
        names = victim.names | {"data": DATA, "secret": f"{os.getpid()}/root{secret}/secret"}
        with _near(service, names, greeting) as scene:
            yield scene


@contextmanager
def host_scene(victim: Victim, image: Image, secret: Path) -> Iterator[Scene]:
    """The service in its image on this host, its data on a small disk of its own."""
    with (
        small_disk() as data,
        host_instance(image, data=data, driven=True) as instance,
        _near(instance, image_names(victim, secret)) as scene,
    ):
        yield scene


def image_names(victim: Victim, secret: Path) -> dict[str, str]:
    """The names in an image: `data` is where process 1 has the whole data partition."""
    return victim.names | {"data": container.DATA, "secret": f"1/root{secret}/secret"}


@contextmanager
def _near(target: Seen, names: Mapping[str, str], greeting: str = GREETING) -> Iterator[Scene]:
    """On this host: what listens outside is in the service's network, at a port of nobody's."""
    outside = in_network(target.network, lambda: Outside("127.0.0.1", _OUTSIDE_PORT))
    address = f"127.0.0.1:{_OUTSIDE_PORT}"
    with _ready(Scene(target, outside, {**names, "outside": address}, 10.0, greeting)) as scene:
        yield scene


@contextmanager
def guest_scene(victim: Victim, image: Image, secret: Path) -> Iterator[Scene]:
    """The service in its image in QEMU, on a network from which this machine can be reached."""
    with qemu_instance(image, closed=False, driven=True) as instance:
        port = free_port()
        names = image_names(victim, secret) | {"outside": f"10.0.2.2:{port}"}
        with _ready(Scene(instance, Outside("127.0.0.1", port), names, 60.0)) as scene:
            yield scene


@contextmanager
def _ready(scene: Scene) -> Iterator[Scene]:
    """When the service does its job; the listener is closed at the end."""
    try:
        first = replace(scene, patience=_READY_S)
        if not first.serves():
            raise ServiceError(f"the vulnerable service does not serve: {scene.ask('hello')!r}")
        yield scene
    finally:
        scene.outside.close()


@contextmanager
def small_disk() -> Iterator[Path]:
    """A folder that holds _DATA_KIB and no more."""
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        linux.mount("onejob-attack", folder, "tmpfs", 0, f"size={_DATA_KIB}k")
        stack.callback(linux.unmount, folder, linux.MNT_DETACH)
        yield folder
