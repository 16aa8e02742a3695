"""What the C library does when a service fails works in an image, though no drill failed."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onejob.drive.ready import wait_ready
from onejob.drive.target import Exit
from onejob.model.image import Image, open_image
from onejob.model.profile_xml import load_profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.system.host import HostInstance, host_instance
from running import must, run_onejob

SOURCE = Path(__file__).with_name("fragile_service.c")
WORKLOAD = """\
name = "fragile"
command = ["PROGRAM"]
ready = { log = "ready" }
"""
FAILURES = {
    signal.SIGUSR1: "Assertion `block == NULL' failed",
    signal.SIGUSR2: "",
    signal.SIGHUP: "(double free)",  # the memory manager's words, whose abort is the same
    signal.SIGINT: "*** stack smashing detected ***: terminated",
}
pytestmark = [pytest.mark.root, pytest.mark.ebpf, pytest.mark.runc]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and its profile."""
    folder = tmp_path_factory.mktemp("fragile")
    program = folder / "fragile"
    compiler = ["gcc", "-O1", "-w", "-fstack-protector-all", "-o", program, SOURCE]
    subprocess.run(compiler, check=True, timeout=60)
    (folder / "workload.toml").write_text(WORKLOAD.replace("PROGRAM", str(program)))
    must(run_onejob("profile", "-w", folder / "workload.toml", "-o", folder / "profile.xml"))
    return folder


def build(place: Path, trust: str) -> Image:
    image = place / f"{trust}.onejob"
    words = ("build", place / "profile.xml", "--without-kernel", "--trust", trust, "-o", image)
    must(run_onejob(*words))
    return open_image(image)


@contextmanager
def running(image: Image) -> Iterator[HostInstance]:
    workload = parse_toml(load_profile(image.profile).workload, Workload, "test")
    with host_instance(image) as instance:
        wait_ready(instance, workload, instance.since)
        yield instance


def ended(instance: HostInstance) -> Exit | None:
    deadline = time.monotonic() + 60
    while (end := instance.exited()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return end


@pytest.fixture(scope="module")
def known(place: Path) -> Image:
    return build(place, "known")


@pytest.mark.parametrize("number", FAILURES)
def test_a_service_that_fails_dies_of_sigabrt_with_its_message(known: Image, number: int) -> None:
    with running(known) as instance:
        instance.send_signal(number)
        assert ended(instance) == Exit(None, signal.SIGABRT)
        assert FAILURES[signal.Signals(number)] in instance.output()
        assert instance.denials() == ()


def test_a_buffer_may_grow_beyond_what_any_drill_made_of_it(known: Image) -> None:
    with running(known) as instance:
        instance.send_signal(signal.SIGQUIT)
        deadline = time.monotonic() + 60
        while "grown" not in instance.output() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "\ngrown" in instance.output()


def test_with_observed_calls_alone_it_is_refused_and_that_is_said(place: Path) -> None:
    with running(build(place, "observed")) as instance:
        instance.send_signal(signal.SIGUSR2)
        assert ended(instance) == Exit(None, signal.SIGSEGV)
        assert "onejob: refused system call 234" in instance.output()  # tgkill


def test_explain_says_that_the_c_library_needs_it(known: Image) -> None:
    done = run_onejob("explain", known.folder, "tgkill")
    must(done)
    assert "is allowed: libc: abort: it sends the signal" in done.stdout
