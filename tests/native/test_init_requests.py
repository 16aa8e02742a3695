"""What the control channel of process 1 can be asked, and how it bears misuse."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

import pytest
from init_container import Container

pytestmark = [pytest.mark.root, pytest.mark.runc]


# ---- questions about files --------------------------------------------------------------------


def test_rename_exists_remove(container: Container) -> None:
    (container.root / "var/log/job/access.log").write_text("line\n")
    container.start()
    container.event("started")
    old, new = "/var/log/job/access.log", "/var/log/job/access.log.1"
    container.ask("rename", **{"from": old, "to": new})
    assert [container.ask("exists", path=path) for path in (old, new)] == [False, True]
    container.ask("remove", path=new)
    assert container.ask("exists", path=new) is False
    with pytest.raises(RuntimeError, match=f"^rename {old}: No such file or directory$"):
        container.ask("rename", **{"from": old, "to": new})


@pytest.mark.parametrize("before", [0, 65535, 65536, 65537, 131_070, 1_048_570])
def test_contains_finds_text_across_pieces(container: Container, before: int) -> None:
    file = container.root / "var/log/job/big"
    file.write_bytes(b"x" * before + b"needle" + b"y" * 3_000_000)
    container.start()
    container.event("started")
    assert container.ask("contains", path="/var/log/job/big", text="needle") is True
    assert container.ask("contains", path="/var/log/job/big", text="needles") is False
    assert container.ask("contains", path="/var/log/job/big", text="") is True
    with pytest.raises(RuntimeError, match=r"^contains /var: Is a directory$"):
        container.ask("contains", path="/var", text="x")


def test_read_gives_any_piece(container: Container) -> None:
    content = bytes(range(256)) * 300
    (container.root / "var/log/job/bytes").write_bytes(content)
    container.start()
    container.event("started")

    def piece(offset: int, length: int) -> tuple[bytes, bool]:
        reply = container.ask("read", path="/var/log/job/bytes", offset=offset, length=length)
        return base64.b64decode(reply["data"], validate=True), reply["eof"]

    assert piece(0, 65536) == (content[:65536], False)
    assert piece(65536, 65536) == (content[65536:], True)
    assert piece(255, 4) == (content[255:259], False)
    assert piece(len(content), 5) == (b"", True)
    with pytest.raises(RuntimeError, match="`length` of at most 65536"):
        piece(0, 65537)


def test_bad_requests_are_answered_and_change_nothing(container: Container) -> None:
    container.start()
    container.event("started")
    for line, words in [
        ("nonsense", "not a request"),
        ('{"id":1,"do":"stop","force":true}', "unknown field `force`"),
        ('{"id":1,"do":"read","text":"' + "x" * 200_000 + '"}', "longer than 70000 bytes"),
    ]:
        container.send(line)
        reply = container.reply()
        assert reply["id"] is None and words in reply["error"]
    with pytest.raises(RuntimeError, match=r"^unknown request shell$"):
        container.ask("shell")
    with pytest.raises(RuntimeError, match=r"^remove needs an absolute `path`$"):
        container.ask("remove", path="job")
    assert container.ask("exists", path="/job") is True


def test_a_request_may_come_in_parts(container: Container) -> None:
    container.start()
    container.event("started")
    for byte in b'{"id":5,"do":"exists","path":"/job"}\n{"id":6,"do":"denials"}\n':
        container.port.sendall(bytes([byte]))
    assert container.reply() == {"id": 5, "ok": True}
    assert container.reply() == {"id": 6, "ok": []}


def test_an_unread_control_channel_does_not_stop_process_1(container: Container) -> None:
    """Replies pile up unread: process 1 goes on with everything else, in bounded memory."""
    (container.root / "var/log/job/bytes").write_bytes(b"x" * 65536)
    container.start()
    container.await_text("ready")
    for number in range(40):
        container.send(json.dumps({"id": number, "do": "read", "path": "/var/log/job/bytes",
                                   "offset": 0, "length": 65536}))  # fmt: skip
    subprocess.run(["runc", "kill", container.name, "USR1"], check=True, timeout=60)
    container.await_text("got USR1")
    replies = [container.reply() for _ in range(40)]
    assert [reply["id"] for reply in replies] == list(range(40))
    assert all(reply["ok"]["eof"] for reply in replies)


def test_memory_does_not_grow_with_requests(container: Container) -> None:
    (container.root / "var/log/job/bytes").write_bytes(b"x" * 65536)
    container.start()
    container.event("started")

    def used_kib() -> int:
        [line] = re.findall(r"VmRSS:\s+(\d+)", container.text_of("/proc/1/status"))
        return int(line)

    def many_requests() -> None:
        for _ in range(300):
            container.ask("read", path="/var/log/job/bytes", offset=0, length=65536)
            container.ask("contains", path="/var/log/job/bytes", text="yy")
            container.ask("processes")

    many_requests()
    many_requests()
    before = used_kib()
    many_requests()
    many_requests()
    assert used_kib() <= before + 16


class UnreadConsole(Container):
    """Nobody reads what the container says."""

    def open_console(self) -> BinaryIO:
        reader, writer = os.pipe()
        self.reader = reader
        return os.fdopen(writer, "wb")


def test_an_unread_console_does_not_stop_process_1(tmp_path: Path, job: Path) -> None:
    """The service blocks in its own write; process 1 has something to say, and answers still."""
    container = UnreadConsole(tmp_path, job)
    container.start("stream")
    try:
        container.event("started")
        time.sleep(1)  # the pipe is full long before
        assert len(container.ask("processes")) == 1
        container.ask("signal", signal=int(signal.SIGKILL))
        assert container.event("exited") == {"event": "exited", "signal": 9}
    finally:
        os.close(container.reader)  # first: runc itself waits for its reader
        container.clean()
