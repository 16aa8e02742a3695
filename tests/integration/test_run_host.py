"""Images on this host: rehearsed, run, interrupted; nothing is left, whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from onejob.base.linux import in_network
from onejob.base.progress import Quiet
from onejob.drive.ready import wait_ready
from onejob.drive.target import Exit
from onejob.model.errors import InputError, LacksError, ServiceError
from onejob.model.image import Image
from onejob.model.plan import Dimension, Restart
from onejob.model.profile_xml import load_profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.system.host import host_instance
from onejob.system.instance import Denial
from onejob.system.network import Publish, free_port
from onejob.system.rehearse import rehearse
from onejob.system.run import run

from .small_image import CONFIGURATION, LEAST, LOG, MOUNTS, PORT, build_small, compile_service

pytestmark = [pytest.mark.root, pytest.mark.runc]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_service(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def image(program: Path) -> Image:
    return build_small(program, program.parent / "small.onejob")


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Only what bears this session's folder counts: other instances may run on this machine."""
    yield
    assert list(left_of(str(tmp_path_factory.getbasetemp()))) == []


def left_of(folder: str) -> Iterator[str]:
    """Processes, loop devices, mounts and bundles that have to do with `folder`."""
    places = [*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/mountinfo")]
    places += Path("/sys/block").glob("loop*/loop/backing_file")
    places += Path("/run").glob("onejob-*/config.json")
    for place in places:
        with contextlib.suppress(OSError):
            if folder in place.read_text(errors="replace"):
                yield f"{place}: {place.read_text(errors='replace')}"


def workload_of(image: Image) -> Workload:
    return parse_toml(load_profile(image.profile).workload, Workload, "test")


def test_a_good_image_passes(image: Image) -> None:
    report = rehearse(image, "host", Quiet())
    assert report.findings == ()
    assert report.passed
    assert [drill.name for drill in report.drills] == ["start", "serve", "rotate-logs", "stop"]
    assert report.requests >= 1
    assert report.ready_seconds is not None
    assert 0 < report.ready_seconds < 30


def test_a_denied_call_is_found_though_every_drill_passes(program: Path, tmp_path: Path) -> None:
    image = build_small(program, tmp_path / "small.onejob", path="forbidden")
    report = rehearse(image, "host", Quiet())
    assert all(drill.passed for drill in report.drills)
    assert report.denials == (Denial("getpgid", str(program), 1),)
    assert not report.passed
    assert report.findings[0].object == f"getpgid was refused to {program} once"


def test_a_file_left_out_is_found(program: Path, tmp_path: Path) -> None:
    image = build_small(program, tmp_path / "small.onejob", path="config", status=404)
    report = rehearse(image, "host", Quiet())
    assert report.findings[0].kind == "missing-file"
    assert CONFIGURATION in report.findings[0].object


@pytest.mark.ebpf
def test_a_file_asked_for_in_vain_is_seen_by_the_probe(program: Path, tmp_path: Path) -> None:
    image = build_small(program, tmp_path / "small.onejob", path="config", status=404)
    report = rehearse(image, "host", Quiet())
    objects = [finding.object for finding in report.findings]
    assert f"{program} asked for {CONFIGURATION} (1x) and the image lacks it" in objects


def test_a_drill_that_fails_is_a_finding(program: Path, tmp_path: Path) -> None:
    image = build_small(program, tmp_path / "small.onejob", status=201)
    report = rehearse(image, "host", Quiet())
    assert [(d.name, d.passed) for d in report.drills] == [("start", True), ("serve", False)]
    assert [f.kind for f in report.findings] == ["drill"]
    assert "to print '201'; it printed '200'" in report.findings[0].object


def test_a_service_that_does_not_come_up_is_a_finding(program: Path, tmp_path: Path) -> None:
    image = build_small(program, tmp_path / "small.onejob", argument="fails")
    report = rehearse(image, "host", Quiet())
    assert report.ready_seconds is None
    assert [f.kind for f in report.findings] == ["ready"]
    assert "small ended with status 3 before it was ready" in report.findings[0].object
    assert "small: no such port" in report.findings[0].object


def test_a_root_that_is_not_whole_is_refused(program: Path, tmp_path: Path) -> None:
    image = build_small(program, tmp_path / "small.onejob")
    image.root.write_bytes(b"\0" * image.root.stat().st_size)
    with pytest.raises(InputError, match=r"root\.img: .* is corrupted"), host_instance(image):
        pytest.fail("it ran")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_nothing(image: Image, error: type[BaseException]) -> None:
    def fail() -> None:
        with host_instance(image) as instance:
            wait_ready(instance, workload_of(image), instance.since)
            raise error

    with pytest.raises(error):
        fail()


def test_a_service_that_is_killed_is_reported(image: Image) -> None:
    with host_instance(image) as instance:
        wait_ready(instance, workload_of(image), instance.since)
        instance.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 60
        while (ended := instance.exited()) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ended == Exit(None, signal.SIGKILL)


def test_two_at_once_do_not_disturb_each_other(image: Image) -> None:
    workload = workload_of(image)
    with host_instance(image) as one:
        with host_instance(image) as two:
            wait_ready(two, workload, two.since)
            wait_ready(one, workload, one.since)
            two.rename(LOG, f"{LOG}.old")
            assert one.exists(LOG)
            assert not two.exists(LOG)
        assert one.exited() is None


def fetch(port: int, path: str = "") -> int:
    """The status of a GET, tried until somebody answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            url = f"http://127.0.0.1:{port}/{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Visitor:
    """Fetches once the published port answers, then sends this process SIGTERM."""

    def __init__(self, port: int, path: str = "") -> None:
        self.statuses: list[int] = []
        self.thread = threading.Thread(target=self.visit, args=[port, path])
        self.thread.start()

    def visit(self, port: int, path: str) -> None:
        try:
            self.statuses.append(fetch(port, path))
        finally:
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # run() has not failed
                os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_publishes_and_ends_well_on_sigterm(image: Image) -> None:
    port = free_port()
    said: list[str] = []
    visitor = Visitor(port)
    ended = run(image, "host", [Publish("127.0.0.1", port, PORT)], None, Quiet(), said.append)
    visitor.thread.join(10)
    assert visitor.statuses == [200]
    assert ended == Exit(0, None)
    assert "small: serving" in "".join(said)


def test_a_service_that_is_never_ready_is_stopped_with_one_sentence(
    program: Path, tmp_path: Path
) -> None:
    ready = '{ http = "http://{address:8080}/config", within = 1 }'  # the image lacks that file
    image = build_small(program, tmp_path / "small.onejob", ready=ready)
    said: list[str] = []
    with pytest.raises(ServiceError, match=r"^small was not ready within 1 s") as caught:
        run(image, "host", [Publish("127.0.0.1", free_port(), PORT)], None, Quiet(), said.append)
    assert "\n" not in caught.value.what
    assert "small exited with status 0" in "".join(said)


def test_data_outlives_a_run_only_where_asked(image: Image, tmp_path: Path) -> None:
    for name in ("first", "second"):
        port = free_port()
        visitor = Visitor(port, name)
        run(
            image, "host", [Publish("127.0.0.1", port, PORT)], None, Quiet(), str, tmp_path / "data"
        )
        visitor.thread.join(10)
    log = (tmp_path / f"data{LOG}").read_text()
    assert "GET /first " in log
    assert "GET /second " in log


def test_logs_lie_in_a_file_system_of_their_own_beside_the_data(
    program: Path, tmp_path: Path
) -> None:
    size = Dimension(name="logs", kind="share", value="16384", source="a test", reason="a test")
    mounts = tuple(m.model_copy(update={"share": m.kind == "data"}) for m in MOUNTS)
    image = build_small(
        program, tmp_path / "small.onejob", mounts=mounts, dimensions=(*LEAST, size)
    )
    data = tmp_path / "data"
    for text in ("first", "second"):
        with host_instance(image, data=data) as instance:
            wait_ready(instance, workload_of(image), instance.since)
            url = f"http://{instance.address(PORT)}/{text}"
            in_network(instance.network, lambda at=url: urllib.request.urlopen(at).close())
            assert instance.contains(LOG, "/first")
            with (
                pytest.raises(InputError, match="another instance uses it"),
                host_instance(image, data=data),
            ):
                pytest.fail("two instances have one data folder")
    assert sorted(path.name for path in data.iterdir()) == [
        ".onejob", ".onejob-logs", ".onejob-logs.img", ".onejob-owner",
    ]  # fmt: skip
    assert list((data / ".onejob-logs").iterdir()) == []
    assert (data / ".onejob-logs.img").stat().st_blocks * 512 >= 16384 * 1024  # without holes


def test_a_service_that_crashes_in_a_loop_is_stopped_for_good(
    program: Path, tmp_path: Path
) -> None:
    policy = Restart(attempts=2, first_ms=10, longest_ms=15, steady_ms=60_000, reason="a test")
    image = build_small(program, tmp_path / "small.onejob", argument="fails", restart=policy)
    said: list[str] = []
    ended = run(image, "host", [], None, Quiet(), said.append)
    assert ended == Exit(3, None)
    console = "".join(said)
    assert "it is started again in 15 ms (2 of 2)\n" in console
    assert "onejob: small failed 3 times in a row, the last time after 0." in console


def test_a_taken_port_is_an_error_that_names_it(image: Image) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LacksError, match=f"port {port} on 127.0.0.1: Address already in use"):
            run(image, "host", [Publish("127.0.0.1", port, PORT)], None, Quiet(), str)


# A shell starts what it puts into the background with SIGINT ignored, and so may have started us.
INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from onejob.base.progress import Quiet
from onejob.model.image import open_image
from onejob.system.rehearse import rehearse
class Say(Quiet):
    def step(self, text, fraction=None):
        print(text, flush=True)
rehearse(open_image(Path(sys.argv[1])), "host", Say())
"""


@pytest.mark.parametrize("moment", ["waiting", "drill start", "drill serve", "drill stop"])
def test_ctrl_c_leaves_nothing(image: Image, moment: str) -> None:
    argv = [sys.executable, "-c", INTERRUPTED, str(image.folder)]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(moment):
                break
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()  # one that hangs must not take the whole session with it
    assert "KeyboardInterrupt" in errors
