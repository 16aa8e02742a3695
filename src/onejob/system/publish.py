"""A TCP forwarder: listens on this host, connects inside a container's network namespace.

Runs as a process of its own (``python -m onejob.system.publish NETNS ADDRESS:HOSTPORT:PORT...``):
it binds here first, then enters the namespace; sockets stay in the namespace they were made in.
"""

import asyncio
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from onejob.base.linux import CLONE_NEWNET, setns
from onejob.base.process import start_group
from onejob.model.errors import ServiceError
from onejob.system.network import Publish, need_port, parse_publish

READY = b"ready\n"
BUFFER_BYTES = 64 * 1024
START_TIMEOUT_S = 20.0


@contextmanager
def published(network: Path, publish: Sequence[Publish]) -> Iterator[None]:
    """Forward every one of `publish` into `network` as long as the context lasts."""
    if not publish:
        yield
        return
    for wanted in publish:
        need_port(wanted)
    words = [f"[{p.host}]:{p.host_port}:{p.port}" for p in publish]
    argv = [sys.executable, "-m", "onejob.system.publish", str(network), *words]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start_group(argv, **pipes) as process:
        _await_ready(process)
        yield


def _await_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None  # a PIPE, above
    line = process.stdout.readline()  # it says ready, or ends
    if line != READY:
        with suppress(subprocess.TimeoutExpired):
            process.wait(START_TIMEOUT_S)
        said = process.stderr.read() if process.stderr else b""
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise ServiceError(f"publishing ports failed: {last or 'the forwarder ended'}")


def listen(publish: Publish) -> socket.socket:
    """A listening socket for `publish` in the namespace that this thread is in now."""
    family = socket.AF_INET6 if ":" in publish.host else socket.AF_INET
    return socket.create_server((publish.host, publish.host_port), family=family, backlog=512)


async def serve(listening: Sequence[tuple[socket.socket, int]]) -> None:
    """Forward from every listening socket to its port on the loopback, until stdin ends."""
    servers = [await _start(listener, port) for listener, port in listening]
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)  # the end of whoever started us
    for server in servers:
        server.close()


async def _start(listener: socket.socket, port: int) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forward(reader, writer, port)

    return await asyncio.start_server(connected, sock=listener, limit=BUFFER_BYTES)


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """One connection: both directions at once, each ended by itself (half-close)."""
    try:
        inner_reader, inner_writer = await asyncio.open_connection(
            "127.0.0.1", port, limit=BUFFER_BYTES
        )
    except OSError:
        reset(writer)  # as if nobody listened
        return
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(copy(reader, inner_writer))
            both.create_task(copy(inner_reader, writer))
    except* OSError:
        reset(writer)
        reset(inner_writer)
    finally:
        for each in (writer, inner_writer):
            each.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Hang up so that the other side sees an error and not an end (socket(7), SO_LINGER)."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one side to the other, never more than the buffers hold, then its end."""
    while data := await reader.read(BUFFER_BYTES):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):  # the other side may be gone altogether
        writer.write_eof()


def main(arguments: Sequence[str]) -> None:
    """Bind here, enter the namespace, forward."""
    network, *words = arguments
    wanted = [parse_publish(word) for word in words]
    listening = [(listen(publish), publish.port) for publish in wanted]
    setns(Path(network), CLONE_NEWNET)
    asyncio.run(serve(listening))


if __name__ == "__main__":
    main(sys.argv[1:])
