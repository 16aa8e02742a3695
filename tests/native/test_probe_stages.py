"""Calls by role and state: which a process makes as a worker or not, before or after it settles."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from probe_driver import NR, Recording, record

pytestmark = pytest.mark.root
SOURCE = Path(__file__).parent / "workload_stages.c"


@pytest.fixture(scope="module")
def recording(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("stages")
    return record(folder, compiled(folder), backend=backend)


def compiled(folder: Path) -> Path:
    program = folder / "service"
    options = ["-O1", "-Wall", "-Wno-unused-result", "-Werror", "-pthread", "-o", str(program)]
    subprocess.run(["gcc", *options, str(SOURCE)], check=True, timeout=60)
    return program


def stages(recording: Recording, name: str) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for row in recording.rows("stages", name):
        role = "worker" if row["worker"] else "main"
        found[role, "settled" if row["settled"] else "starting"] += row["count"]
    return dict(found)


def test_each_role_and_state_has_its_calls(recording: Recording) -> None:
    assert stages(recording, "getpid") == {
        ("main", "starting"): 1 + 2 + 64,  # before and after listen(2), and as the next program
        ("main", "settled"): 4,
        ("worker", "starting"): 1 + 4,  # nobody listened; one thread, which has not waited yet
        # With two threads, before one of them waits and after.
        ("worker", "settled"): 2 + 8 + 16 + 32,
    }


def test_the_call_that_waits_is_made_by_a_settled_process(recording: Recording) -> None:
    assert stages(recording, "poll") == {("worker", "starting"): 1, ("worker", "settled"): 1}
    assert stages(recording, "wait4") == {
        ("main", "starting"): 1, ("main", "settled"): 1, ("worker", "settled"): 1,
    }  # fmt: skip


def test_an_execution_is_a_call_of_the_program_that_made_it(recording: Recording) -> None:
    assert stages(recording, "execve") == {("main", "settled"): 1}


def test_the_stages_of_a_call_add_up_to_its_count(recording: Recording) -> None:
    calls, parts = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for row in recording.data["calls"]:
        calls[row["program"], row["nr"]] += row["count"]
    for row in recording.data["stages"]:
        parts[row["program"], row["nr"]] += row["count"]
    calls[0, NR["execve"]] -= 1  # the first, by which the watch began
    assert parts == calls


def test_a_named_call_settles_whoever_makes_it(backend: str, tmp_path: Path) -> None:
    """Threads beside the first count as of a settled process: they may run before it or after."""
    found = record(tmp_path, compiled(tmp_path), backend=backend, settling="7")
    assert stages(found, "getpid") == {
        ("main", "starting"): 1 + 2 + 4 + 64,
        ("worker", "starting"): 4 + 8,
        ("worker", "settled"): 1 + 2 + 16 + 32,
    }
    assert stages(found, "poll") == {("worker", "settled"): 2}
