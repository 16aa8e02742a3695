"""The observer's facts beside calls and paths, held to a workload that does 23 of each."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from probe_driver import NR, Recording, record

pytestmark = pytest.mark.root
SOURCE = Path(__file__).parent / "workload_facts.c"
TIMES, QUEUED, NOBODY = 23, 7, 65534
CAP_CHOWN = 0
UNIX, INET, STREAM = 1, 2, 1
NAMES = {number: name for name, number in NR.items()}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("facts") / "known"
    options = ["-O1", "-Wall", "-Werror", "-pthread", "-o", str(path)]
    subprocess.run(["gcc", *options, str(SOURCE)], check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def traffic(program: Path, folder: Path, backend: str) -> Recording:
    return record(folder, program, "traffic", folder, backend=backend)


def moved(recording: Recording, thing: str) -> dict[str, tuple[int, int, int]]:
    """Operations, bytes and jumps by call, of what `thing` names."""
    rows = [row for row in recording.data["traffic"] if row["object"] == thing]
    return {NAMES[row["nr"]]: (row["count"], row["bytes"], row["jumps"]) for row in rows}


def test_a_file_by_operations_bytes_and_jumps(traffic: Recording, folder: Path) -> None:
    assert moved(traffic, f"{folder}/data") == {
        "write": (TIMES, 10 * TIMES, 0),
        "read": (TIMES + 1, 5 * TIMES, 2),  # back to the start, and after the last pread
        "pread64": (TIMES, 3 * TIMES, TIMES),
        "fsync": (TIMES, 0, 0),
        "flock": (TIMES, 0, 0),
        "fcntl": (TIMES, 0, 0),
        "sendfile": (TIMES, 4 * TIMES, 0),
    }


def test_a_log_that_is_appended_to_never_jumps(traffic: Recording, folder: Path) -> None:
    assert moved(traffic, f"{folder}/log") == {"write": (TIMES, 5 * TIMES, 0)}


def test_things_without_a_path_are_named_by_what_they_are(traffic: Recording) -> None:
    assert moved(traffic, "pipe") == {
        "write": (TIMES, 7 * TIMES, 0),
        "read": (2 * TIMES, (7 + 4) * TIMES, 0),
        "sendfile": (TIMES, 4 * TIMES, 0),
    }
    assert moved(traffic, f"socket:{UNIX}/{STREAM}") == {
        "sendto": (TIMES + 1, 5 * TIMES + 1, 0),
        "recvfrom": (TIMES, 5 * TIMES, 0),
    }
    assert moved(traffic, "anon_inode:[eventfd]") == {"write": (TIMES, 8 * TIMES, 0)}


def test_the_component_is_the_file_system_or_the_family(traffic: Recording, folder: Path) -> None:
    found = {row["object"]: row["component"] for row in traffic.data["traffic"]}
    words = ["stat", "--file-system", "--format=%T", str(folder)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert found[f"{folder}/data"] in (shown, shown.split("/")[0], "ext4", "overlay")
    assert found["pipe"] == "pipe"
    assert found[f"socket:{UNIX}/{STREAM}"] == f"socket:{UNIX}"


def test_calls_go_through_the_object_whose_instruction_they_are(traffic: Recording) -> None:
    rows = [row for row in traffic.data["through"] if NAMES[row["nr"]] == "fsync"]
    assert [row["count"] for row in rows] == [TIMES]
    assert os.path.basename(traffic.objects[rows[0]["object"]]) == "libc.so.6"
    loaders = [row for row in traffic.data["through"] if NAMES[row["nr"]] == "arch_prctl"]
    assert {os.path.basename(traffic.objects[row["object"]])[:8] for row in loaders} == {"ld-linux"}


def test_all_calls_but_exec_are_attributed(traffic: Recording) -> None:
    calls = {(row["nr"], row["drill"]): row["count"] for row in traffic.data["calls"]}
    through: dict[Any, int] = {}
    for row in traffic.data["through"]:
        key = row["nr"], row["drill"]
        through[key] = through.get(key, 0) + row["count"]
    assert through == {key: n for key, n in calls.items() if key[0] != NR["execve"]}


def test_listeners_with_their_queues(program: Path, tmp_path: Path, backend: str) -> None:
    recording = record(tmp_path, program, "listen", tmp_path, backend=backend)
    port = int((tmp_path / "log").read_text())
    found = [
        {key: row[key] for key in row if key not in ("program", "drill")}
        for row in recording.data["listeners"]
    ]
    common = {"type": STREAM, "backlog": TIMES, "accepted": QUEUED}
    # A tracer is not told of the queues of Unix sockets.
    unix_peak = QUEUED if backend == "ebpf" else 0
    assert sorted(found, key=lambda row: row["family"]) == [
        {"family": UNIX, "address": "listener", "port": 0, "queue_peak": unix_peak, **common},
        {"family": INET, "address": "127.0.0.1", "port": port, "queue_peak": QUEUED, **common},
    ]


@pytest.mark.ebpf
@pytest.mark.skipif(
    "__traceiter_cap_capable\n" not in Path("/proc/kallsyms").read_text(),
    reason="this kernel has no tracepoint cap_capable (since 6.13)",
)
def test_capabilities_granted_and_refused(program: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    recording = record(tmp_path, program, "privileges", tmp_path)
    (row,) = [row for row in recording.data["capabilities"] if row["capability"] == CAP_CHOWN]
    # A chown that may is asked about for the owner and for the group; one that may not, once.
    assert (row["count"], row["refused"]) == (2 * TIMES + TIMES, TIMES)


def test_identities_on_the_way_down(program: Path, tmp_path: Path, backend: str) -> None:
    tmp_path.chmod(0o777)
    recording = record(tmp_path, program, "privileges", tmp_path, backend=backend)
    found = {(r["uid"], r["gid"], r["no_new_privs"]) for r in recording.data["identities"]}
    assert found == {
        (0, 0, False), (0, 0, True), (0, NOBODY, True), (NOBODY, NOBODY, True),
    }  # fmt: skip


def test_what_was_started(program: Path, tmp_path: Path, backend: str) -> None:
    recording = record(tmp_path, program, "starts", backend=backend)
    true = os.path.realpath(shutil.which("true") or "")
    rows = {
        (recording.objects[row["child"]], row["how"]): row["count"]
        for row in recording.data["starts"]
    }
    assert rows == {
        (str(program), "thread"): TIMES, (str(program), "fork"): TIMES, (true, "exec"): 1,
    }  # fmt: skip
