"""Images in QEMU: booted, rehearsed, run; failures of the guest explained, nothing left."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from onejob.base.data_disk import make_data_disk
from onejob.base.progress import Quiet
from onejob.drive.target import Exit
from onejob.model.errors import LacksError, ServiceError
from onejob.model.image import KERNEL, MANIFEST, Content, Image, Kernel, open_image
from onejob.model.jsonfile import to_json
from onejob.model.plan import Restart
from onejob.system.kvm import Accelerator
from onejob.system.network import Publish, free_port
from onejob.system.qemu import qemu_instance
from onejob.system.rehearse import rehearse
from onejob.system.run import run

from .small_image import PORT, build_small, compile_service, with_kernel_of

pytestmark = [pytest.mark.root, pytest.mark.qemu]
TCG = Accelerator("tcg", "a test")


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No QEMU of this session, and no folder of one."""
    before = set(Path("/run").glob("onejob-*"))
    yield
    words = str(tmp_path_factory.getbasetemp())
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert words not in place.read_text(errors="replace")
    assert not [p for p in set(Path("/run").glob("onejob-*")) - before if (p / "data.img").exists()]


@pytest.fixture
def no_kernel_image(tmp_path: Path) -> Image:
    """An image whose kernel is none: whatever QEMU says of it must reach the user."""
    image = build_small(compile_service(tmp_path), tmp_path / "small.onejob")
    return with_kernel(image, b"no kernel at all")


def with_kernel(image: Image, kernel: bytes) -> Image:
    (image.folder / KERNEL).write_bytes(kernel)
    content = Content(name=KERNEL, size=len(kernel), sha256=hashlib.sha256(kernel).hexdigest())
    made = Kernel(source="x", compiler="x", config_sha256="0" * 64, system_calls=1)
    contents = (*image.manifest.contents, content)
    changes = {"kernel": made, "contents": contents}
    (image.folder / MANIFEST).write_text(to_json(image.manifest.model_copy(update=changes)))
    return open_image(image.folder)


def test_a_guest_that_ends_early_shows_its_console(no_kernel_image: Image) -> None:
    with pytest.raises(ServiceError) as caught, qemu_instance(no_kernel_image, accelerator=TCG):
        pass
    assert "small was not started: its system ended" in caught.value.what


def test_a_taken_port_is_an_error_before_anything_starts(no_kernel_image: Image) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        publish = [Publish("127.0.0.1", taken.getsockname()[1], PORT)]
        with (
            pytest.raises(LacksError, match="Address already in use"),
            qemu_instance(no_kernel_image, publish=publish, accelerator=TCG),
        ):
            pass


def test_a_data_disk_is_an_empty_ext4_and_sparse(tmp_path: Path) -> None:
    disk = tmp_path / "data.img"
    make_data_disk(disk, 64)
    assert disk.stat().st_size == 64 * 1024 * 1024
    assert disk.stat().st_blocks * 512 < 16 * 1024 * 1024
    with disk.open("rb") as file:
        file.seek(1024 + 56)
        assert file.read(2) == b"\x53\xef"  # s_magic, ext4(5)
    assert os.listdir(tmp_path) == ["data.img"]


def test_the_image_passes_its_rehearsal(nginx_image: Path) -> None:
    report = rehearse(open_image(nginx_image), "qemu", Quiet())
    assert report.findings == ()
    assert report.denials == ()
    assert [drill.name for drill in report.drills][-1] == "stop"
    assert report.requests > 0
    assert report.memory_mib


def test_too_little_memory_is_a_finding_with_the_console(nginx_image: Path) -> None:
    report = rehearse(open_image(nginx_image), "qemu", Quiet(), memory_mib=12)
    assert [finding.kind for finding in report.findings] == ["ready"]
    assert "was not started: its system ended" in report.findings[0].object


def test_a_changed_byte_of_the_root_is_not_served(nginx_image: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nginx.onejob"
    shutil.copytree(nginx_image, folder)
    image = open_image(folder)
    with image.root.open("r+b") as file:
        for block in range(
            image.manifest.verity.data_blocks // 2, image.manifest.verity.data_blocks
        ):
            file.seek(block * 4096)
            file.write(b"\xff")
    report = rehearse(image, "qemu", Quiet())
    assert not report.passed
    assert "corrupted" in report.findings[-1].object


def test_a_service_that_crashes_in_a_loop_is_stopped_for_good(
    nginx_image: Path, tmp_path: Path
) -> None:
    policy = Restart(attempts=1, first_ms=10, longest_ms=10, steady_ms=60_000, reason="a test")
    small = build_small(
        compile_service(tmp_path), tmp_path / "small.onejob", argument="fails", restart=policy
    )
    said: list[str] = []
    ended = run(
        with_kernel_of(small, open_image(nginx_image)), "qemu", [], None, Quiet(), said.append
    )
    assert ended == Exit(3, None)
    assert "onejob: small failed 2 times in a row, the last time after " in "".join(said)


def test_a_run_is_published_keeps_its_data_and_ends_well(nginx_image: Path, tmp_path: Path) -> None:
    port = free_port()
    statuses: list[int] = []

    def visit() -> None:
        deadline = time.monotonic() + 120
        while not statuses and time.monotonic() < deadline:
            url = f"http://127.0.0.1:{port}/"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                statuses.append(answer.status)
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # run() has not failed
            os.kill(os.getpid(), signal.SIGTERM)

    visitor = threading.Thread(target=visit)
    visitor.start()
    publish = [Publish("127.0.0.1", port, 80)]
    disk = tmp_path / "data.img"
    ended = run(open_image(nginx_image), "qemu", publish, None, Quiet(), str, disk)
    visitor.join(10)
    assert (statuses, ended) == ([200], Exit(0, None))
    assert disk.stat().st_size > 0
