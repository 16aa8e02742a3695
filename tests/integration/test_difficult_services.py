"""Services that are hard to watch: nothing is missed, or one message says what to change."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from onejob.profiler.unrecorded import SET_ID

Onejob = Callable[..., subprocess.CompletedProcess[str]]
SOURCE = Path(__file__).with_name("difficult_service.c")
TIMES = 23
CROWD = 10_000
WORKLOAD = """\
name = "difficult"
command = [{command}]
ready = {{ log = "ready", within = 60 }}
"""
pytestmark = [pytest.mark.root, pytest.mark.ebpf]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("difficult")
    program = folder / "service"
    subprocess.run(["gcc", "-O1", "-Wall", "-o", program, SOURCE], check=True, timeout=60)
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)  # nobody must reach the set-user-id program
    helper = folder / "helper"
    helper.write_bytes(program.read_bytes())
    helper.chmod(0o4755)
    return folder


def take(onejob: Onejob, place: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = ", ".join(f'"{word}"' for word in (place / "service", *words))
    (place / "workload.toml").write_text(WORKLOAD.format(command=command))
    return onejob("profile", "-w", place / "workload.toml", "-o", place / "profile.xml")


def profile(onejob: Onejob, place: Path, *words: str | Path) -> Profile:
    done = take(onejob, place, *words)
    assert done.returncode == 0, done.stderr
    taken = load_profile(place / "profile.xml")
    assert taken.events_lost == 0
    return taken


def count(taken: Profile, call: str, program: Path) -> int:
    rows = (use for use in taken.calls if (use.call_name, use.program) == (call, str(program)))
    return sum(use.count for use in rows)


def running(program: Path) -> list[str]:
    found = []
    for link in Path("/proc").glob("[0-9]*/exe"):
        try:
            found += [str(link)] if os.readlink(link).startswith(str(program)) else []
        except OSError:
            continue
    return found


def test_a_child_that_leaves_the_session_is_seen_and_ended(onejob: Onejob, place: Path) -> None:
    taken = profile(onejob, place, "stray")
    assert count(taken, "getppid", place / "service") == TIMES
    assert taken.number_of_processes == 3
    assert running(place) == []


def test_what_is_left_is_told_to_end_and_seen_doing_so(onejob: Onejob, place: Path) -> None:
    """As process 1 does it in an image, which would refuse what a profile does not have."""
    taken = profile(onejob, place, "heir")
    assert count(taken, "getppid", place / "service") == TIMES
    assert running(place) == []


def test_a_command_that_becomes_a_daemon_is_told_what_to_do(onejob: Onejob, place: Path) -> None:
    (place / "profile.xml").write_text("old")
    done = take(onejob, place, "daemon")
    assert done.returncode == 5
    assert "difficult ended with status 0" in done.stderr
    assert "became a daemon: 1 process of it goes on without it" in done.stderr
    assert "foreground" in done.stderr
    assert "Traceback" not in done.stderr
    assert (place / "profile.xml").read_text() == "old"
    assert running(place) == []


def test_a_service_that_closes_every_descriptor(onejob: Onejob, place: Path) -> None:
    taken = profile(onejob, place, "deaf")
    assert count(taken, "getppid", place / "service") == TIMES
    closed = next(use for use in taken.calls if use.call_name == "close")
    assert closed.count >= 65536 - 3


def test_a_set_user_id_program_is_watched_under_its_own_name(onejob: Onejob, place: Path) -> None:
    taken = profile(onejob, place, "setuid", place / "helper")
    assert count(taken, "getppid", place / "helper") == TIMES
    assert count(taken, "execve", place / "helper") == TIMES
    helper = taken.file(str(place / "helper"))
    assert helper is not None
    assert helper.mode == 0o4755
    assert [(row.program, row.reason) for row in taken.unrecorded_memory] == [
        (str(place / "helper"), SET_ID)
    ]


def test_10_000_short_lived_children_are_all_counted(onejob: Onejob, place: Path) -> None:
    taken = profile(onejob, place, "crowd")
    assert count(taken, "getppid", place / "service") == CROWD
    assert count(taken, "exit_group", place / "service") == CROWD + 1
    assert taken.number_of_processes == 2


def test_what_is_written_beside_the_program_stays_in_the_profile(
    onejob: Onejob, place: Path
) -> None:
    taken = profile(onejob, place, "litter")
    made = [file for file in taken.files if ".litter" in file.path]
    assert [file.path for file in made] == [f"{place}/service.litter{n:02}" for n in range(TIMES)]
    assert {use.how for file in made for use in file.uses} == {"created", "written"}
    assert {file.existed for file in made} == {False}
    assert list(place.glob("*.litter*")) == []
    planned = onejob("plan", place / "profile.xml", "-o", place / "plan.json")
    assert planned.returncode == 0
    assert f"{place}/service will not run: /tmp is writable, hence noexec" in planned.stderr


def test_a_service_that_sets_the_clock(onejob: Onejob, place: Path) -> None:
    taken = profile(onejob, place, "clock")
    assert count(taken, "clock_settime", place / "service") == TIMES
