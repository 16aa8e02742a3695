"""Process 1 and its data partition: of one service, for one instance, else one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from init_container import Container

pytestmark = [pytest.mark.root, pytest.mark.runc]

OWNER = ".onejob-owner"


def with_folder(container: Container) -> Path:
    """The container keeps its data in a folder; which folder it is."""
    container.environment[1] = "ONEJOB_DATA=dir"
    return container.root / ".onejob/data"


def on_data(kind: str, source: str, *options: str) -> dict[str, Any]:
    """A mount of the bundle."""
    return {"destination": "/.onejob/data", "type": kind, "source": source, "options": options}


def refusal(container: Container) -> str:
    """What process 1 says that does not start; one sentence, with a hint."""
    container.start()
    assert container.status() == 1
    (line,) = container.console.splitlines()
    assert ". Hint: " in line
    return line


def test_a_new_partition_gets_its_owner_and_is_used_again(container: Container) -> None:
    data = with_folder(container)
    (data / "lost+found").mkdir()
    for _ in range(2):
        container.start()
        container.await_text("ready")
        container.ask("stop")
        assert container.status() == 0
    assert (data / OWNER).read_text() == "job\n"
    assert (data / OWNER).stat().st_mode & 0o7777 == 0o600


def test_a_partition_of_another_service_is_refused_and_left_as_it_is(container: Container) -> None:
    data = with_folder(container)
    (data / OWNER).write_text("database\n")
    words = 'the data partition belongs to "database", and this is job'
    assert words in refusal(container)
    assert [path.name for path in data.iterdir()] == [OWNER]


def test_a_partition_with_files_of_nobody_we_know_is_refused(container: Container) -> None:
    data = with_folder(container)
    (data / "holiday.jpg").touch()
    assert 'the data partition has "holiday.jpg" on it' in refusal(container)
    assert [path.name for path in data.iterdir()] == ["holiday.jpg"]


def test_an_owner_that_was_cut_short_is_written_again(container: Container) -> None:
    data = with_folder(container)
    (data / ".onejob-owner-unfinished").write_text("jo")
    container.start()
    container.await_text("ready")
    assert (data / OWNER).read_text() == "job\n"


@pytest.mark.parametrize("what", ["link", "folder"])
def test_an_owner_that_is_no_file_is_refused(container: Container, what: str) -> None:
    data = with_folder(container)
    if what == "link":
        (data / OWNER).symlink_to("/etc/hostname")
    else:
        (data / OWNER).mkdir()
    container.start()
    assert container.status() == 1
    assert f"cannot see whose the data partition is: {OWNER}" in container.console


@pytest.fixture
def second(tmp_path: Path, job: Path, container: Container) -> Iterator[Container]:
    """Another instance on the same data partition."""
    made = Container(tmp_path / "second", job)
    made.environment[1] = container.environment[1] = "ONEJOB_DATA=dir"
    made.mounts.append(on_data("bind", str(container.root / ".onejob/data"), "bind"))
    yield made
    made.clean()


def test_two_instances_on_one_partition_are_refused(
    container: Container, second: Container
) -> None:
    container.start()
    container.await_text("ready")
    assert "another instance uses this data partition" in refusal(second)
    container.ask("stop")
    assert container.status() == 0
    second.start()  # the lock went with its holder
    second.await_text("ready")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["size=4k,nr_inodes=1"], "cannot write to the data partition: No space left on device"),
        (["ro"], "cannot write to the data partition: Read-only file system"),
    ],
)
def test_a_partition_that_is_full_or_read_only_is_refused(
    container: Container, options: list[str], words: str
) -> None:
    with_folder(container)
    container.mounts.append(on_data("tmpfs", "tmpfs", *options))
    assert words in refusal(container)


def test_a_partition_without_room_for_the_first_content_is_refused(container: Container) -> None:
    with_folder(container)
    (container.root / "var/log/job/seed").write_bytes(b"s" * 100_000)
    container.mounts.append(on_data("tmpfs", "tmpfs", "size=64k"))
    container.start()
    assert container.status() == 1
    assert "cannot copy /var/log/job/seed: No space left on device" in container.console


# ---- the logs' share --------------------------------------------------------------------------


def share(container: Container, size_kib: int) -> None:
    """The folder of the job's logs lies in a share of so much."""
    container.plan["mounts"][-1]["share"] = True
    container.plan["share_kib"] = size_kib


def test_logs_cannot_grow_beyond_their_share(container: Container) -> None:
    share(container, 256)
    container.start("fill")
    container.await_text("ready")
    assert len(container.text_of("/var/log/job/big")) == 65536
    logs, data = (os.statvfs(container.outside(path)) for path in ("/var/log/job", "/.onejob/data"))
    assert (logs.f_blocks * logs.f_frsize, logs.f_bfree) == (256 * 1024, 0)
    assert data.f_bavail * data.f_frsize > 3 * 1024 * 1024


def test_a_share_that_nobody_keeps_small_is_said(container: Container) -> None:
    data = with_folder(container)
    share(container, 256)
    container.start()
    container.await_text("ready")
    assert "onejob: logs can fill the data partition: nothing is mounted on" in container.console
    assert (data / ".onejob-logs/var/log/job").is_dir()
    assert not (data / "var").exists()


def test_a_mount_in_a_share_of_no_size_is_refused(container: Container) -> None:
    share(container, 0)
    container.start()
    assert container.status() == 1
    assert "a mount lies in a `share` that has no `share_kib`" in container.console
