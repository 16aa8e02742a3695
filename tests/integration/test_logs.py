"""The last words of images: on a host as a user reads them, and of a guest that was killed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from onejob.base.progress import Quiet
from onejob.model.errors import InputError
from onejob.model.image import Image, open_image
from onejob.system.logs import read_log
from onejob.system.network import Publish, free_port
from onejob.system.qemu import qemu_instance
from onejob.system.run import run
from running import must, run_onejob

from .small_image import PORT, build_small, compile_service
from .test_run_host import Visitor


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("logs")
    return build_small(compile_service(folder), folder / "small.onejob")


@pytest.mark.root
@pytest.mark.runc
def test_words_are_read_when_all_is_over(image: Image, tmp_path: Path) -> None:
    port = free_port()
    visitor = Visitor(port)
    said: list[str] = []
    place = Publish("127.0.0.1", port, PORT)
    run(image, "host", [place], None, Quiet(), said.append, tmp_path / "data")
    visitor.thread.join(10)
    done = run_onejob("logs", tmp_path / "data")
    must(done)
    assert done.stdout == "onejob: a system begins here\n" + "".join(said)
    done = run_onejob("logs", tmp_path / "data", "--lines", "1")
    assert done.stdout == "onejob: small exited with status 0\n"
    done = run_onejob("logs", tmp_path / "data", "--times")
    assert done.stdout.startswith(time.strftime("[since %Y-%m-%d ", time.gmtime()))


@pytest.mark.root
@pytest.mark.qemu
def test_a_guest_that_is_killed_leaves_its_words_on_its_disk(
    nginx_image: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "data.img"
    with qemu_instance(open_image(nginx_image), data=disk) as instance:
        deadline = time.monotonic() + 60
        while not disk.is_file() or b"kernel: Run /" not in _words(disk):
            assert time.monotonic() < deadline, instance.output()
            time.sleep(0.2)
        [qemu] = _children_named("qemu-system")
        os.kill(qemu, signal.SIGKILL)
    words = _words(disk)
    assert words.startswith(b"onejob: a system begins here\nkernel: Linux version 6.")
    assert b"kernel: Run /.onejob/init as init process\n" in words


def _words(disk: Path) -> bytes:
    try:
        return b"".join(piece.text for piece in read_log(disk))
    except InputError:  # not yet
        return b""


def _children_named(name: str) -> list[int]:
    listed = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,comm="],
        capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    rows = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, comm in rows if comm.startswith(name[:15])]
