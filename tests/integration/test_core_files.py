"""A service that fails leaves its core file with its data: on a host, and on a guest's disk."""

import signal
import stat
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from onejob.drive.ready import wait_ready
from onejob.model.image import Image, open_image
from onejob.system.host import HostInstance, host_instance
from onejob.system.logs import read_log
from onejob.system.qemu import QemuInstance, qemu_instance
from onejob.system.rehearse import load_embedded_workload, patient
from running import must, run_onejob

pytestmark = [pytest.mark.root, pytest.mark.kernel]


@pytest.fixture(scope="module")
def image(
    nginx_image: Path, nginx_profile: Path, tmp_path_factory: pytest.TempPathFactory
) -> Image:
    """nginx that may leave one; its kernel is that of all others."""
    path = tmp_path_factory.mktemp("cores") / "nginx.onejob"
    must(run_onejob("build", nginx_profile, "--core-dumps", "1", "-o", path, timeout=1700))
    made = open_image(path)
    assert made.kernel.read_bytes() == open_image(nginx_image).kernel.read_bytes()
    return made


@pytest.mark.parametrize(
    "place",
    [pytest.param("host", marks=pytest.mark.runc), pytest.param("qemu", marks=pytest.mark.qemu)],
)
def test_it_is_named_and_taken_out(image: Image, place: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with _instance(image, place, data) as running:
        wait_ready(running, patient(load_embedded_workload(image)), time.monotonic())
        running.send_signal(signal.SIGSEGV)
        ended = None
        while ended is None:
            ended = running.exited()
        assert ended.signal == signal.SIGSEGV
    said = b"".join(piece.text for piece in read_log(data)).decode()
    assert "ends by signal 11: core.1 has its memory, " in said
    core = tmp_path / "nginx.core"
    must(run_onejob("logs", data, "--core", "1", "-o", core))
    assert core.read_bytes().startswith(b"\x7fELF")
    assert stat.S_IMODE(core.stat().st_mode) == 0o600
    assert b"/var/log/nginx/access.log" in core.read_bytes()  # of its configuration
    missing = run_onejob("logs", data, "--core", "2", "-o", tmp_path / "other")
    assert (missing.returncode, "no core.2" in missing.stderr) == (4, True)
    assert not (tmp_path / "other").exists()


def _instance(
    image: Image, place: str, data: Path
) -> AbstractContextManager[HostInstance | QemuInstance]:
    if place == "host":
        data.mkdir()
        return host_instance(image, data=data)
    return qemu_instance(image, data=data)
