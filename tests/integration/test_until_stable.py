"""Rounds go on until nothing is new, or until a limit, which is said and stands in the profile."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from running import Onejob

WORKLOAD = """\
name = "counting"
command = ["/usr/bin/python3", "-IS", "{server}", "8099", "{folder}", "{count}"]
ports = [8099]
ready = {{ log = "ready", within = 60 }}
[[drill]]
name = "ask"
expect = {{ request = "http://{{address:8099}}/" }}
"""
FILES = 9
Take = Callable[..., tuple[Profile, str]]


@pytest.fixture
def take(tmp_path: Path, onejob: Onejob) -> Take:
    """Profile a server that reads `count` files, one more in each round."""
    for number in range(1, FILES + 1):
        (tmp_path / f"file{number}").write_text("x")

    def profiled(count: int, *options: str) -> tuple[Profile, str]:
        server = Path(__file__).with_name("counting_server.py")
        text = WORKLOAD.format(server=server, folder=tmp_path, count=count)
        (tmp_path / "workload.toml").write_text(text)
        output = tmp_path / "profile.xml"
        done = onejob("profile", "-w", tmp_path / "workload.toml", "-o", output, *options)
        assert done.returncode == 0, done.stderr
        return load_profile(output), done.stdout + done.stderr

    return profiled


def files_read(profile: Profile) -> dict[str, list[str]]:
    """The server's numbered files, and in which drills each was read."""
    files = [file for file in profile.files if Path(file.path).name.startswith("file")]
    return {Path(f.path).name: [use.drill for use in f.uses if use.how == "read"] for f in files}


@pytest.mark.root
@pytest.mark.ebpf
def test_rounds_go_on_until_two_bring_nothing_new(take: Take) -> None:
    profile, said = take(3, "--until-stable", "2")
    start, ask, stop = profile.drills
    assert (ask.name, ask.quiet_rounds) == ("ask", 2)
    assert ask.rounds >= 5  # three with a file each, two quiet ones
    assert (start.rounds, stop.rounds) == (1, 1)
    assert profile.provenance is not None
    assert profile.provenance.partial == ""
    assert files_read(profile) == {f"file{n}": ["ask"] for n in (1, 2, 3)}
    accepted = [row for row in profile.calls if row.call_name == "accept4" and row.drill == "ask"]
    assert sum(row.count - row.failed for row in accepted) == ask.rounds
    assert re.search(r"drill ask#3: .*read /\S*/file3\b", said)
    assert f"drill ask#{ask.rounds}: nothing new" in said


@pytest.mark.root
@pytest.mark.ebpf
def test_the_limit_is_said_and_stands_in_the_profile(take: Take) -> None:
    profile, said = take(FILES, "--until-stable", "2", "--max-rounds", "3")
    ask = profile.drills[1]
    assert (ask.rounds, ask.quiet_rounds) == (3, 0)
    assert files_read(profile) == {f"file{n}": ["ask"] for n in (1, 2, 3)}
    assert profile.provenance is not None
    assert profile.provenance.partial.startswith("not stable: of 3 rounds")
    assert "partial: not stable: of 3 rounds" in said


@pytest.mark.root
@pytest.mark.ebpf
def test_without_it_there_is_one_round(take: Take) -> None:
    profile, said = take(FILES)
    assert [(run.name, run.rounds) for run in profile.drills] == [
        ("start", 1), ("ask", 1), ("stop", 1),
    ]  # fmt: skip
    assert "#2" not in said


@pytest.mark.root
def test_a_workload_with_nothing_to_repeat_is_refused(onejob: Onejob, tmp_path: Path) -> None:
    path = tmp_path / "workload.toml"
    path.write_text('name = "bare"\ncommand = ["sh"]\nready = { log = "x" }\n')
    done = onejob("profile", "-w", path, "--until-stable", "2", "-o", tmp_path / "p.xml")
    assert done.returncode == 4
    assert "bare has no drill that could be repeated" in done.stderr
