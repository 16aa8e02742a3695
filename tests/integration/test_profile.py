"""A profile says exactly what a known service did, and taking it leaves nothing behind."""

import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile

Onejob = Callable[..., subprocess.CompletedProcess[str]]
SOURCE = Path(__file__).with_name("known_service.c")
WORKLOAD = """\
name = "known"
command = ["{program}", "{folder}"]
ready = {{ log = "ready", within = 20 }}
[[drill]]
name = "count"
signal = "USR1"
expect = {{ files = [{{ path = "{folder}/done", exists = true }}] }}
"""
pytestmark = [pytest.mark.root, pytest.mark.ebpf]
BACKENDS = ["ebpf", "ptrace"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled service and the files that it opens."""
    folder = tmp_path_factory.mktemp("known")
    program = folder / "known_service"
    subprocess.run(["gcc", "-O1", "-Wall", "-o", program, SOURCE], check=True, timeout=60)
    for number in range(23):
        (folder / f"boot{number:02}").write_text("b")
        (folder / f"serve{number:02}").write_text("s")
    return folder


@pytest.fixture(scope="module", params=BACKENDS)
def profile(request: pytest.FixtureRequest, place: Path, onejob: Onejob) -> Profile:
    """The known service's profile, taken by the command line."""
    (place / "workload.toml").write_text(
        WORKLOAD.format(program=place / "known_service", folder=place)
    )
    output = place / "known.profile.xml"
    done = onejob(
        "profile", "-w", place / "workload.toml", "-o", output, "--backend", request.param
    )
    assert done.returncode == 0, done.stderr
    assert ("watching by ptrace: it runs several times slower" in done.stderr) == (
        request.param == "ptrace"
    )
    assert "Traceback" not in done.stderr
    return load_profile(output)


def test_calls_are_exact_and_in_the_right_phase(profile: Profile) -> None:
    counts = {
        (use.call_name, use.phase, use.drill): use.count
        for use in profile.calls
        if use.call_name in ("getppid", "sched_yield")
    }
    assert counts == {
        ("getppid", "boot", "start"): 23,
        ("sched_yield", "serve", "count"): 23,
    }


@pytest.mark.parametrize(("name", "drill"), [("boot", "start"), ("serve", "count")])
def test_files_are_exact(profile: Profile, place: Path, name: str, drill: str) -> None:
    files = [file for file in profile.files if file.path.startswith(f"{place}/{name}")]
    assert [file.path for file in files] == [f"{place}/{name}{n:02}" for n in range(23)]
    uses = [(use.drill, use.how, use.count) for file in files for use in file.uses]
    assert uses == [(drill, "read", 1)] * 23
    assert {(file.kind, file.size, file.existed) for file in files} == {("file", 1, True)}


def test_memory_blocks_are_exact(profile: Profile) -> None:
    peaks = {row.block_size: row.number_of_blocks for row in profile.memory_allocations}
    assert [peaks.get(size) for size in (1001, 2003, 4007)] == [23, 23, 23]
    own = [row for row in profile.allocations if row.block_size in (1001, 2003, 4007)]
    assert [(row.peak, row.allocated, row.freed) for row in own] == [(23, 23, 0)] * 3


def test_the_rest_of_the_facts(profile: Profile, place: Path) -> None:
    assert [(run.name, run.phase) for run in profile.drills] == [
        ("start", "boot"), ("count", "serve"), ("stop", "serve"),
    ]  # fmt: skip
    assert (profile.events_lost, profile.number_of_processes, profile.number_of_threads) == (
        0,
        1,
        1,
    )
    assert profile.number_of_sockets == 0
    assert profile.program == str(place / "known_service")
    assert {use.program for use in profile.calls} == {profile.program}
    assert profile.resident_kib > 100
    made = profile.file(f"{place}/done")
    assert made is not None
    assert [use.how for use in made.uses] == ["created", "written"]
    assert (made.kind, made.existed) == ("missing", False)


def test_nothing_of_python_is_taken_for_the_services(profile: Profile) -> None:
    """The sandbox is a Python program; Python's locale and modules are not the service's."""
    names = [file.path for file in profile.files if file.uses]
    assert not [path for path in names if "python" in path or "locale" in path]
    assert Counter(use.call_name for use in profile.calls)["execve"] == 1


def test_nothing_is_left(profile: Profile, place: Path) -> None:
    assert profile.name == "known"
    assert not (place / "done").exists()
    running = []
    for path in Path("/proc").glob("[0-9]*/exe"):
        try:
            running.append(os.readlink(path))
        except OSError:
            continue
    assert str(place / "known_service") not in running
    assert str(place) not in Path("/proc/self/mountinfo").read_text()


# --- nginx ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nginx(nginx_profile: Path) -> Profile:
    """The gallery's nginx."""
    return load_profile(nginx_profile)


def test_nginx_drills_are_recorded(nginx: Profile) -> None:
    assert [run.name for run in nginx.drills] == [
        "start", "serve", "reload", "rotate-logs", "crash", "error-paths", "stop",
    ]  # fmt: skip
    brought = {run.name: run.new_calls + run.new_files for run in nginx.drills}
    assert all(brought[name] for name in ("start", "reload", "rotate-logs", "error-paths", "stop"))
    assert nginx.events_lost == 0


def test_nginx_chown_is_seen_where_logs_are_rotated(nginx: Profile) -> None:
    """What a recording of a load generator alone misses."""
    chowns = [use for use in nginx.calls if use.call_name in ("chown", "fchown", "fchownat")]
    assert "rotate-logs" in {use.drill for use in chowns if use.count > use.failed}
    log = nginx.file("/var/log/nginx/access.log")
    assert log is not None
    hows = {(use.drill, use.how) for use in log.uses}
    assert ("rotate-logs", "created") in hows
    assert ("rotate-logs", "appended") in hows


def test_nginx_serves_without_starting_programs(nginx: Profile) -> None:
    execs = {(use.phase, use.count) for use in nginx.calls if use.call_name == "execve"}
    assert execs == {("boot", 1)}
    assert nginx.number_of_sockets > 30  # wrk has 32 connections
    assert "www-data" in {account.name for account in nginx.accounts}
