"""From observations to the next profile, and to the plan that allows what was denied."""

import errno
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import small_world
from onejob.cli.main import app
from onejob.model.errors import InputError
from onejob.model.jsonfile import load_json, to_json
from onejob.model.observations import Observations, UnexpectedFile
from onejob.model.plan import Plan
from onejob.model.profile_xml import load_profile, write_profile
from some_observations import denied, held, observations

GETPPID, PTRACE = 110, 101


def inside(*words: str | Path) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "keeper.profile.xml"
    path.write_text(write_profile(small_world.profile()))
    return path


def write(path: Path, found: Observations) -> Path:
    path.write_text(to_json(found))
    return path


def of_keeper(**changes: Any) -> Observations:
    """Nothing but what is given is out of the ordinary."""
    quiet: dict[str, Any] = {"name": "keeper", "denials": (), "programs": (), "folders": ()}
    small = observations().peaks.model_copy(update={**held(processes=1, threads=1), "sockets": 1})
    return observations(**{**quiet, "peaks": small, **changes})


def test_the_exit_status_tells_whether_the_profile_is_true(profile: Path, tmp_path: Path) -> None:
    program = small_world.profile().program
    true = write(tmp_path / "true.json", of_keeper())
    done = inside("drift", true, "--profile", profile)
    assert (done.exit_code, done.stdout) == (0, "the profile is still true\n")
    false = write(tmp_path / "false.json", of_keeper(denials=(denied(GETPPID, program=program),)))
    done = inside("drift", false, "--profile", profile)
    assert done.exit_code == 1
    assert "getppid" in done.stdout and "the profile is not true in 1 facts" in done.stdout
    done = inside("drift", false, "--profile", profile, "--json")
    assert done.exit_code == 1 and '"by": "+3"' in done.stdout


def test_the_next_plan_allows_what_was_denied_but_what_is_left_out(
    profile: Path, tmp_path: Path
) -> None:
    program = small_world.profile().program
    row = {"program": program, "role": "main", "phase": "serve"}
    found = of_keeper(denials=(denied(GETPPID, **row), denied(PTRACE, **row)))
    seen = write(tmp_path / "observations.json", found)
    following = tmp_path / "next.xml"
    done = inside("merge", profile, seen, "--without", "ptrace", "-o", following)
    assert done.exit_code == 0, done.exception
    assert f"denied 3 times, now in the profile: getppid of {program}" in done.stdout
    assert "ptrace" not in done.stdout
    done = inside("plan", following, "-o", tmp_path / "plan.json")
    assert done.exit_code == 0, done.exception
    plan = load_json(tmp_path / "plan.json", Plan, "plan")
    assert {"getppid", "ptrace"} & {call.name for call in plan.calls} == {"getppid"}
    provenance = load_profile(following).provenance
    assert provenance is not None
    assert "observations.json (observations, sha256 " in provenance.sources[1]


def test_the_next_image_has_what_was_not_there_and_is_here(profile: Path, tmp_path: Path) -> None:
    program = small_world.profile().program
    here = tmp_path / "here"
    here.write_text("found")
    files = tuple(
        UnexpectedFile(program=program, path=path, how="read", error=errno.ENOENT, count=3)
        for path in (str(here), "/not/here/either")
    )
    seen = write(tmp_path / "observations.json", of_keeper(unexpected_files=files))
    done = inside("merge", profile, seen, "-o", tmp_path / "next.xml")
    assert done.exit_code == 0, done.exception
    assert f"not there for {program}: {here}, and on this machine it is" in done.stdout
    found = {file.path: file for file in load_profile(tmp_path / "next.xml").files}
    assert (found[str(here)].kind, found[str(here)].size) == ("file", 5)
    assert found["/not/here/either"].kind == "missing"
    left = inside("merge", profile, seen, "--without", here, "-o", tmp_path / "left.xml")
    assert left.exit_code == 0 and str(here) not in left.stdout


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "shell": true}'])
def test_a_file_that_holds_none_is_refused(profile: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "observations.json"
    path.write_text(text)
    for words in (["drift", path, "--profile", profile], ["merge", profile, path, "-o", "/x"]):
        assert isinstance(inside(*words).exception, InputError)


def test_a_file_alone_does_not_say_what_it_is_of(tmp_path: Path) -> None:
    path = write(tmp_path / "observations.json", of_keeper())
    done = inside("drift", path)
    assert isinstance(done.exception, InputError)
    assert done.exception.hint == "add --profile FILE"
