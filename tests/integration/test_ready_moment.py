"""A workload names the call with which its service is ready: from there on the serve row holds."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from onejob.model.image import Image, open_image
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile

from .small_image import with_kernel_of

Onejob = Callable[..., subprocess.CompletedProcess[str]]
SOURCE = Path(__file__).with_name("spooler_service.c")
WORKLOAD = """\
name = "spooler"
command = ["{program}", "/var/log/spooler/jobs"]
folders = [{{ path = "/var/log/spooler" }}]
ready = {{ log = "spooling", within = 60 }}
{moment}
[[drill]]
name = "work"
signal = "USR1"
expect = {{ files = [{{ path = "/var/log/spooler/jobs", contains = "done 1" }}] }}
"""
NAMED = 'settles = ["rt_sigtimedwait"]\n'
PREPARING = {"listen", "poll", "umask", "getppid"}
pytestmark = [pytest.mark.root, pytest.mark.ebpf]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moment")
    options = ["-static", "-O1", "-Wall", "-Wno-unused-result", "-o", folder / "spooler"]
    subprocess.run(["cc", *options, SOURCE], check=True, timeout=60)
    return folder


def take(onejob: Onejob, place: Path, name: str, moment: str) -> Path:
    workload = place / f"{name}.toml"
    workload.write_text(WORKLOAD.format(program=place / "spooler", moment=moment))
    done = onejob("profile", "-w", workload, "-o", place / f"{name}.xml")
    assert done.returncode == 0, done.stderr
    return place / f"{name}.xml"


@pytest.fixture(scope="module")
def named(onejob: Onejob, place: Path) -> Path:
    return take(onejob, place, "named", NAMED)


@pytest.fixture(scope="module")
def image(onejob: Onejob, place: Path, named: Path) -> Image:
    done = onejob("build", named, "--without-kernel", "-o", place / "spooler.onejob")
    assert done.returncode == 0, done.stderr
    return open_image(place / "spooler.onejob")


def calls_of(profile: Profile, settled: bool) -> set[str]:
    return {row.call_name for row in profile.role_calls if row.settled is settled}


def test_the_usual_moment_is_too_early_for_this_service(onejob: Onejob, place: Path) -> None:
    taken = load_profile(take(onejob, place, "unnamed", ""))
    assert PREPARING - {"listen"} <= calls_of(taken, settled=True)


def test_what_it_prepares_is_before_the_named_moment(named: Path) -> None:
    taken = load_profile(named)
    assert calls_of(taken, settled=False) >= PREPARING
    assert calls_of(taken, settled=True) == {
        "rt_sigtimedwait", "openat", "write", "close", "exit_group",
    }  # fmt: skip


def test_a_call_that_does_not_exist_is_refused(onejob: Onejob, place: Path) -> None:
    workload = place / "wrong.toml"
    workload.write_text(WORKLOAD.format(program="/bin/true", moment='settles = ["recvfroom"]'))
    done = onejob("profile", "-w", workload, "-o", place / "wrong.xml")
    assert done.returncode == 4
    assert "settles: there is no system call 'recvfroom'" in done.stderr


def test_the_serve_row_has_nothing_of_the_preparation(onejob: Onejob, image: Image) -> None:
    done = onejob("matrix", image.folder, "--json")
    (row,) = json.loads(done.stdout)
    assert set(row["boot"]) >= PREPARING
    assert not PREPARING & set(row["serve"])


@pytest.mark.runc
def test_it_is_narrowed_at_the_named_moment(onejob: Onejob, image: Image) -> None:
    done = onejob("rehearse", image.folder, "--on", "host")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.qemu
@pytest.mark.kernel
def test_so_it_is_in_a_guest(onejob: Onejob, image: Image, nginx_image: Path) -> None:
    done = onejob("rehearse", with_kernel_of(image, open_image(nginx_image)).folder, "--on", "qemu")
    assert done.returncode == 0, done.stdout + done.stderr
