"""A job from its workload to its end: profiled in several runs, built, run on this host."""

import shutil
from pathlib import Path

import pytest

from onejob.model.image import open_image
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from running import Onejob, must

pytestmark = [pytest.mark.root, pytest.mark.ebpf]
SOURCE = Path(__file__).with_name("counting_job.py")
WORKLOAD = """\
name = "counting"
command = ["python3", "-I", "{here}/counting_job.py"]

[job]
apart = ["{here}/work"]

[job.rules]
console-input = "it asks for a name"
block-devices = "it lists them"

[[job.drill]]
name = "greeted"
input = "Ada\\n"
says = ["hello Ada"]

[[job.drill]]
name = "refused"
arguments = ["3", "{here}/work/text"]
status = 3
says = ["twenty-three", "hello nobody"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job, its workload and what it works on."""
    made = tmp_path_factory.mktemp("job")
    shutil.copy(SOURCE, made)
    (made / "workload.toml").write_text(WORKLOAD)
    (made / "work").mkdir()
    (made / "work/text").write_text("twenty-three\n")
    return made


@pytest.fixture(scope="module")
def profiled(folder: Path, onejob: Onejob) -> Path:
    """Its profile."""
    target = folder / "counting.profile.xml"
    must(onejob("profile", "-w", folder / "workload.toml", "-o", target, timeout=300))
    return target


@pytest.fixture(scope="module")
def profile(profiled: Path) -> Profile:
    return load_profile(profiled)


def test_each_drill_of_a_job_is_a_run_in_its_profile(profile: Profile) -> None:
    assert sorted(drill.name for drill in profile.drills) == ["greeted", "refused"]
    ended = {use.drill: use.count for use in profile.calls if use.call_name == "exit_group"}
    assert ended == {"greeted": 1, "refused": 1}
    assert profile.events_lost == 0


def test_what_a_job_works_on_is_no_part_of_it(profile: Profile, folder: Path) -> None:
    paths = {file.path for file in profile.files}
    assert str(folder / "counting_job.py") in paths
    assert not any(path.startswith(str(folder / "work")) for path in paths)


@pytest.mark.runc
def test_a_job_runs_to_its_end_on_this_host(profiled: Path, tmp_path: Path, onejob: Onejob) -> None:
    image = tmp_path / "counting.onejob"
    words = ("build", profiled, "--without-kernel", "--hardware", "pc", "-o", image)
    must(onejob(*words, timeout=300))
    plan = open_image(image).plan
    assert plan.job is not None
    assert (plan.job.after, plan.job.input, plan.restart) == ("reboot", True, None)
    done = onejob("run", image, "--on", "host", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello nobody" in done.stdout
    assert "counting exited with status 0" in done.stdout
    refused = onejob("rehearse", image, "--on", "host", timeout=120)
    assert "counting is a job: it ends, and is never ready" in refused.stderr


def test_a_run_that_ends_otherwise_than_its_drill_says_is_an_error(
    folder: Path, tmp_path: Path, onejob: Onejob
) -> None:
    workload = folder / "wrong.toml"
    workload.write_text(WORKLOAD.replace("status = 3", "status = 4"))
    done = onejob("profile", "-w", workload, "-o", tmp_path / "p.xml", timeout=300)
    assert done.returncode == 5
    assert "job counting, drill refused: expected exit status 4, it ended with" in done.stderr
    assert not (tmp_path / "p.xml").exists()
