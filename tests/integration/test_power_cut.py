"""Power cuts: QEMU ended at once while the service writes and syncs; every boot after finds it all.
Disks that are damaged or of others are refused.

What QEMU was told to write stays in this host's page cache when it is killed. So this shows what
the guest and its file system do at a cut, and not what a disk does that loses its own cache.
"""

import contextlib
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from built_plans import folder
from onejob.base.data_disk import make_data_disk
from onejob.base.process import run_tool
from onejob.base.progress import Quiet
from onejob.base.verity import check_root
from onejob.builder.image import build_image
from onejob.model.errors import ServiceError
from onejob.model.image import Image, open_image
from onejob.model.plan import Mount
from onejob.model.plan_policy import CallDecision, Grant
from onejob.model.profile_xml import write_profile
from onejob.model.syscalls import call_number
from onejob.system.kvm import Accelerator
from onejob.system.qemu import qemu_instance

from .small_image import CALLS, PORT, plan_of, profile_of, with_kernel_of

pytestmark = [pytest.mark.root, pytest.mark.qemu]

SOURCE = Path(__file__).with_name("power_cut_writer.c")
DATA = "/var/lib/writer"
# ONEJOB_CUTS=200 is what the project promises; a few are enough to see that it can fail.
CUTS = int(os.environ.get("ONEJOB_CUTS", "3"))
TCG = Accelerator("tcg", "a test")


@pytest.fixture
def writer_image(nginx_image: Path, tmp_path: Path) -> Image:
    """The writer on the kernel of another image."""
    program = tmp_path / "writer"
    words = ["cc", "-O1", "-static", "-o", program, SOURCE]
    subprocess.run(words, check=True, timeout=120, stdin=subprocess.DEVNULL)
    calls = (*CALLS, "fsync", "ftruncate", "lseek")
    init = "/.onejob/init"
    plan = plan_of(program, str(PORT))
    plan = plan.model_copy(
        update={
            "mounts": (*plan.mounts[:2], Mount(path=DATA, kind="data", reason="written")),
            "files": (*plan.files, folder("/var/lib/writer")),
            "calls": tuple(
                CallDecision(name=name, number=call_number(name) or 0, reason="used")
                for name in calls
            ),
            "grants": (
                Grant(program=init, path=str(program), rights=("execute",), reason="started"),
                Grant(
                    program=init, path=DATA, rights=("make-reg", "write-file", "truncate"),
                    reason="written",
                ),
            ),
        }
    )  # fmt: skip
    image = build_image(
        plan, write_profile(profile_of(program, "", 200)), tmp_path / "writer.onejob",
        with_kernel=False, cache=tmp_path / "cache", progress=Quiet(),
    )  # fmt: skip
    return with_kernel_of(image, open_image(nginx_image))


def connect(address: str) -> socket.socket:
    """A connection on which the guest has said something."""
    host, port = address.rsplit(":", 1)
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            connection = socket.create_connection((host, int(port)), 5)
            connection.settimeout(20)
            if connection.recv(1, socket.MSG_PEEK):
                return connection
            connection.close()
        assert time.monotonic() < deadline, "the guest does not answer"
        time.sleep(0.1)


def write_until_cut(image: Image, disk: Path, seconds: float) -> tuple[int, int]:
    """The last record that a boot found, and the last that was synced when it was cut off."""
    with qemu_instance(image, data=disk, accelerator=TCG) as guest:
        with connect(guest.address(PORT)) as connection, connection.makefile() as lines:
            found = synced = int(lines.readline())
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                synced = int(lines.readline())
        return found, synced  # and QEMU is killed, with the guest's next record on its way


def test_nothing_synced_is_lost_and_every_boot_succeeds(
    writer_image: Image, tmp_path: Path
) -> None:
    disk, synced, rng = tmp_path / "data.img", 0, random.Random(23)
    for cut in range(CUTS + 1):
        found, last = write_until_cut(writer_image, disk, rng.uniform(0.05, 1.0))
        assert found >= synced, f"cut {cut}: {synced} were synced, {found} were found"
        synced = max(found, last)
        check_root(writer_image.root, writer_image.manifest.verity)
    assert synced > CUTS
    # Once the journal is played back there is nothing that a check would mend.
    run_tool(["e2fsck", "-E", "journal_only", "-p", disk], timeout=60)
    run_tool(["e2fsck", "-f", "-n", disk], timeout=60)


def damage_superblock(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.seek(1024)  # ext4(5)
        file.write(bytes(1024))


def put_file(disk: Path) -> None:
    command = ["debugfs", "-w", "-R", "write /etc/hostname holiday", str(disk)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (damage_superblock, "it has no ext4 file system, or a damaged one: repair it with e2fsck"),
        (put_file, 'the data partition has "holiday" on it, and no .onejob-owner'),
    ],
)
def test_a_disk_that_is_damaged_or_of_others_is_refused(
    writer_image: Image, tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    disk = tmp_path / "data.img"
    make_data_disk(disk, 64)
    harm(disk)
    before = disk.read_bytes() if harm is damage_superblock else b""
    with (
        pytest.raises(ServiceError, match="small was not started") as caught,
        qemu_instance(writer_image, data=disk, accelerator=TCG),
    ):
        pytest.fail("it ran")
    assert words in caught.value.what
    assert not before or disk.read_bytes() == before
