"""What the service and process 1 say: on the console, and in a ring that outlives a crash."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from init_container import Container, await_true

from onejob.model.errors import InputError
from onejob.system.logs import read_log

pytestmark = [pytest.mark.root, pytest.mark.runc]

BEGINS = "onejob: a system begins here\n"
LINES = 60_000  # of 31 bytes: nearly twice what the ring holds


@pytest.fixture
def data(container: Container) -> Path:
    """A folder of the host's, as `onejob run --on host` gives it."""
    folder = container.folder / "data"
    folder.mkdir()
    (folder / ".onejob-owner").write_text("job\n")
    container.environment[1] = "ONEJOB_DATA=dir"
    container.mounts.append(
        {"destination": "/.onejob/data", "type": "bind", "source": str(folder), "options": ["bind"]}
    )
    return folder


def words(data: Path) -> str:
    return b"".join(piece.text for piece in read_log(data)).decode()


def test_words_are_on_the_console_and_in_the_ring(container: Container, data: Path) -> None:
    container.start("denied")
    container.await_text("ready")
    await_true(lambda: "ready" in words(data), lambda: words(data))
    container.ask("stop")
    assert container.status() == 0
    said = [
        "onejob: refused system call 101 of /job (process ", "ptrace: Operation not permitted",
        "ready", "quitting", "onejob: job exited with status 0",
    ]  # fmt: skip
    for text in (container.console, words(data)):
        assert [part for part in said if part not in text] == []
    assert words(data).startswith(BEGINS)


@pytest.mark.parametrize("keeps", [True, False])
def test_the_service_prints_to_a_pipe_of_its_own(
    container: Container, request: pytest.FixtureRequest, keeps: bool
) -> None:
    """node asks a pipe for other calls than a terminal or a file; when profiled, it has a pipe."""
    if keeps:
        request.getfixturevalue("data")
    container.start("reopen")  # which its owner may, as it may not with the console
    container.await_text("ready")
    assert "reopened\n" in container.console
    ours, theirs = (os.readlink(f"/proc/{pid}/fd/1") for pid in container.host_pids())
    assert theirs.startswith("pipe:[")
    assert theirs != ours


def test_they_outlive_a_crash_and_the_next_start_goes_on(container: Container, data: Path) -> None:
    container.start("lines", "5")
    container.await_text("ready")
    await_true(lambda: "ready" in words(data), lambda: words(data))
    subprocess.run(["runc", "delete", "--force", container.name], check=True, timeout=60)
    container.status()
    first = words(data)
    assert "line 0000004 of the service\nready\n" in first
    container.name += "-again"
    container.start("serve")
    container.await_text("ready")
    await_true(lambda: words(data).count("ready") == 2, lambda: words(data))
    assert words(data) == first + BEGINS + "ready\n"


def test_the_oldest_words_make_room_and_none_is_lost(container: Container, data: Path) -> None:
    container.start("lines", str(LINES))
    container.await_text("ready")
    container.ask("stop")
    assert container.status() == 0
    assert [line for line in container.console.splitlines() if line.startswith("line ")] == [
        f"line {number:07} of the service" for number in range(LINES)
    ]
    kept = [line for line in words(data).splitlines() if line.startswith("line ")]
    assert kept[-1] == f"line {LINES - 1:07} of the service"
    first = int(kept[1].split()[1])  # the first one may begin in a block that is gone
    assert kept[1:] == [f"line {number:07} of the service" for number in range(first, LINES)]
    assert 30_000 < len(kept) < LINES
    assert (data / ".onejob/log").stat().st_size == 1 << 20


def test_another_user_may_open_its_standard_error(container: Container, data: Path) -> None:
    container.plan |= {"user": 33, "group": 33}
    container.start("reopen")
    container.await_text("reopened")


def test_an_unread_console_stops_the_service_and_not_process_1(
    container: Container, data: Path
) -> None:
    reader, writer = os.pipe()
    container.open_console = lambda: os.fdopen(writer, "wb")  # type: ignore[method-assign]
    try:
        container.start("stream")
        container.event("started")
        await_true(lambda: words(data).count("a line") > 1000, lambda: words(data))
        assert len(container.ask("processes")) == 1
        container.ask("signal", signal=9)
        assert container.event("exited") == {"event": "exited", "signal": 9}
        assert "onejob: job was ended by signal 9" in words(data)
    finally:
        os.close(reader)


@pytest.mark.parametrize("planted", ["link", "folder", "pipe", "short", "last", "hard link"])
def test_what_lies_in_the_place_of_the_ring(container: Container, data: Path, planted: str) -> None:
    """A service that is root may have planted it: it is replaced, or nothing is kept."""
    (data / ".onejob").mkdir()
    victim = container.folder / "victim"
    victim.write_bytes(b"untouched".ljust(1 << 20, b"\0"))
    log = data / ".onejob/log"
    if planted == "link":
        log.symlink_to(victim)
    elif planted == "hard link":
        log.hardlink_to(victim)
    elif planted == "folder":
        log.mkdir()
        (log / "inside").touch()
    elif planted == "pipe":
        os.mkfifo(log)
    else:
        last = b"OJRING\x001" + b"\xff" * 16
        log.write_bytes(b"x" if planted == "short" else last.ljust(1 << 20, b"\0"))
    container.start()
    container.await_text("ready")
    if planted == "folder":
        container.await_text("no words are kept on the data partition")
        with pytest.raises(InputError):
            read_log(data)
    else:
        await_true(lambda: words(data) == f"{BEGINS}ready\n", lambda: words(data))
    assert victim.read_bytes().startswith(b"untouched\0")


def test_a_full_disk_costs_the_words_and_nothing_else(container: Container) -> None:
    """As small as a disk can be: a file system of half a megabyte, in a loop."""
    image = container.folder / "disk"
    image.touch()
    os.truncate(image, 512 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", image], check=True, timeout=60)
    folder = container.folder / "data"
    folder.mkdir()
    subprocess.run(["mount", "-o", "loop", image, folder], check=True, timeout=60)
    try:
        container.environment[1] = "ONEJOB_DATA=dir"
        container.mounts.append(
            {"destination": "/.onejob/data", "type": "bind", "source": str(folder),
             "options": ["bind"]}
        )  # fmt: skip
        container.start()
        container.await_text("no words are kept on the data partition: No space left on device")
        container.await_text("ready")
        container.ask("stop")
        assert container.status() == 0
        assert sorted(os.listdir(folder / ".onejob")) == ["observations.json"]
    finally:
        subprocess.run(["umount", folder], check=True, timeout=60)
