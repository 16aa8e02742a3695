"""Installed disks: what is written is read back; slots are whole or not chosen, whatever fails."""

import random
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest

import some_images
from installed_disks import OPTIONS, copied, make_system
from onejob.disk.device import MIB, Device, copy_data, new_raw, open_device
from onejob.disk.gpt import read_table
from onejob.disk.layout import find_layout, layout, needed_bytes
from onejob.disk.options import Options
from onejob.disk.papers import papers_into, read_papers
from onejob.disk.state import State, read_state, trial, write_state
from onejob.disk.write import verify_slot, write_disk, write_slot
from onejob.model.errors import InputError
from onejob.model.image import MANIFEST, PLAN, PROFILE, Image, Manifest, open_image
from power import Event, Flush, RecordedDevice, Write, apply, writes_after_cut

DISK_ID = uuid.UUID(int=23)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Image]:
    """An old one and a newer one of the same service."""
    folder = tmp_path_factory.mktemp("images")
    return make_system(folder, "old"), make_system(folder, "new")


@pytest.fixture(scope="module")
def installed(images: tuple[Image, Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with the old image in slot a; not to be changed."""
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    new_raw(path, needed_bytes(images[0]))
    with open_device(path, write=True) as device:
        write_disk(images[0], device, OPTIONS, DISK_ID)
    return path


@pytest.fixture
def disk(installed: Path, tmp_path: Path) -> Path:
    return copied(installed, tmp_path / "disk.raw")


def test_a_disk_holds_what_was_written(installed: Path, images: tuple[Image, Image]) -> None:
    old, _ = images
    with open_device(installed) as device:
        assert read_state(device) == State("a")
        papers = verify_slot(device, "a")
        assert papers.manifest == old.manifest
        assert papers.plan == old.plan
        assert papers.profile == old.profile.read_bytes()
        assert papers.facts.ip == "off"
        assert "ONEJOB_SLOT=a ONEJOB_DATA=/dev/dm-1 ONEJOB_STATE=/dev/dm-2" in papers.facts.line
        assert read_table(device) == layout(old, device.size, DISK_ID)
        with pytest.raises(InputError, match="nothing is in slot b"):
            read_papers(device, "b")


def test_another_slot_is_written_and_tried(disk: Path, images: tuple[Image, Image]) -> None:
    _, new = images
    with open_device(disk, write=True) as device:
        data = find_layout(device)["data"]
        before = device.read_at(data.start, data.size)
        write_slot(device, "b", new, Options(ip="dhcp"))
        assert read_state(device) == State("a")
        write_state(device, trial(read_state(device), "b"))
        assert read_state(device) == State("a", "b", 3)
        assert verify_slot(device, "b").manifest == new.manifest
        assert verify_slot(device, "a").manifest == images[0].manifest
        assert device.read_at(data.start, data.size) == before
        # A trial ends where its slot is written anew.
        write_slot(device, "b", images[0])
        assert read_state(device) == State("a")
        with pytest.raises(InputError, match="slot a is the one that boots"):
            write_slot(device, "a", new)


def test_papers_become_files(installed: Path, images: tuple[Image, Image], tmp_path: Path) -> None:
    with open_device(installed) as device:
        papers_into(device, "a", tmp_path)
    for name in (MANIFEST, PLAN, PROFILE):
        assert (tmp_path / name).read_bytes() == (images[0].folder / name).read_bytes()


@pytest.mark.parametrize("name", ["boot-a", "root-a"])
def test_a_changed_byte_of_a_slot_is_found(disk: Path, name: str) -> None:
    with open_device(disk, write=True) as device:
        at = find_layout(device)[name].start + 5000
        byte = device.read_at(at, 1)[0]
        device.write_at(at, bytes([byte ^ 1]))
        with pytest.raises(InputError, match=r"slot a"):
            verify_slot(device, "a")


def test_what_was_on_a_disk_is_not_taken_for_zeros(
    images: tuple[Image, Image], tmp_path: Path
) -> None:
    """An old journal in the place of the new one could be played back."""
    path = tmp_path / "disk.raw"
    new_raw(path, needed_bytes(images[0]))
    rubbish = random.Random(5).randbytes(MIB)
    with open_device(path, write=True) as device:
        for at in range(0, device.size, MIB):
            device.write_at(at, rubbish[: device.size - at])
        write_disk(images[0], device)
        data = find_layout(device)["data"]
        copy = tmp_path / "data.img"
        copy.write_bytes(device.read_at(data.start, data.size))
        with pytest.raises(InputError, match="nothing is in slot b"):
            read_papers(device, "b")
    words = ["debugfs", "-R", "dump <8> journal", copy.name]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    assert not (tmp_path / "journal").read_bytes()[4096:].strip(b"\0")
    subprocess.run(["e2fsck", "-f", "-n", copy], check=True, timeout=60, capture_output=True)


def test_two_installed_disks_have_nothing_in_common(
    images: tuple[Image, Image], tmp_path: Path
) -> None:
    """Partitions are found by GUIDs, so no two disks of one machine may have the same."""
    found = []
    for name in ("one", "two"):
        new_raw(tmp_path / name, needed_bytes(images[0]))
        with open_device(tmp_path / name, write=True) as device:
            write_disk(images[0], device)
            found.append({place.identity for place in read_table(device)})
    assert len(found[0]) == 8
    assert not found[0] & found[1]


def test_what_does_not_fit_is_refused(
    disk: Path, images: tuple[Image, Image], tmp_path: Path
) -> None:
    large = open_image(
        some_images.make_image(
            tmp_path / "large.onejob", random.Random(2).randbytes(70 * MIB), kernel=b"kernel"
        )
    )
    bare = open_image(
        some_images.make_image(tmp_path / "bare.onejob", kernel=b"kernel", options=("EFI_STUB",))
    )
    with open_device(disk, write=True) as device:
        before = device.read_at(0, device.size)
        with pytest.raises(InputError, match="slot b has room for 67108864"):
            write_slot(device, "b", large)
        with pytest.raises(InputError, match="lacks CONFIG_EFI_PARTITION"):
            write_slot(device, "b", bare)
        with pytest.raises(InputError, match=r"the disk has \d+ MiB, and keeper needs \d+ MiB"):
            write_disk(large, device)
        assert device.read_at(0, device.size) == before


def test_what_is_no_disk_of_ours_is_refused(tmp_path: Path) -> None:
    new_raw(tmp_path / "empty", 8 * MIB)
    refused = pytest.raises(InputError, match="no GUID partition table")
    with open_device(tmp_path / "empty") as device, refused:
        read_state(device)
    subprocess.run(["sgdisk", "--new=1:2048:4096", tmp_path / "empty"], check=True, timeout=60,
                   capture_output=True)  # fmt: skip
    refused = pytest.raises(InputError, match="none that onejob has written")
    with open_device(tmp_path / "empty") as device, refused:
        read_state(device)
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(InputError, match="is no disk"), open_device(path):
            pass


def test_a_disk_in_use_is_refused(disk: Path) -> None:
    """Also by another process, as QEMU locks its images."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom onejob.disk.device import open_device\n"
        f"with open_device(Path({str(disk)!r}), write=True):\n pass"
    )
    with open_device(disk, write=True):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )
        assert "it is in use" in done.stderr
        with open_device(disk) as device:  # to read is nobody forbidden
            assert read_state(device) == State("a")


class Upgrade(NamedTuple):
    """All that the writing of a new slot does, and a disk as it was before, but during a cut."""

    events: list[Event]
    disk: Path
    before: list[Write]
    manifests: dict[str, Manifest]

    def cut(self, moment: int, chance: random.Random) -> str:
        """The slot that boots after a power cut, which has to be whole."""
        apply(self.disk, writes_after_cut(self.events, moment, chance))
        try:
            with open_device(self.disk) as device:
                slot = read_state(device).next
                assert verify_slot(device, slot).manifest == self.manifests[slot]
                return slot
        finally:
            apply(self.disk, self.before)


@pytest.fixture(scope="module")
def upgrade(
    installed: Path, images: tuple[Image, Image], tmp_path_factory: pytest.TempPathFactory
) -> Upgrade:
    old, new = images
    path = copied(installed, tmp_path_factory.mktemp("upgrade") / "disk.raw")
    with path.open("r+b") as file:
        device = RecordedDevice(path, file.fileno())
        write_slot(device, "b", new)
        write_state(device, trial(read_state(device), "b"))
    assert sum(isinstance(event, Flush) for event in device.events) >= 4
    with open_device(installed) as was:
        writes = [event for event in device.events if isinstance(event, Write)]
        before = [Write(at, was.read_at(at, len(content))) for at, content in writes]
    apply(path, before)
    return Upgrade(device.events, path, before, {"a": old.manifest, "b": new.manifest})


def test_the_power_may_fail_between_any_writes_of_a_new_slot(upgrade: Upgrade) -> None:
    """The slot that boots next is whole, and the old one or the new one."""
    chance = random.Random(23)
    booted = [upgrade.cut(moment, chance) for moment in range(len(upgrade.events) + 1)]
    assert (booted[0], booted[-1]) == ("a", "b")


def test_a_disk_that_was_not_finished_is_none(images: tuple[Image, Image], tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    new_raw(path, needed_bytes(images[0]))
    with path.open("r+b") as file:
        device = RecordedDevice(path, file.fileno())
        write_disk(images[0], device)
    chance, copy = random.Random(5), tmp_path / "cut.raw"
    for moment in range(0, len(device.events), 3):
        copy.unlink(missing_ok=True)
        new_raw(copy, needed_bytes(images[0]))
        apply(copy, writes_after_cut(device.events, moment, chance))
        with open_device(copy) as cut:
            assert not found_whole(cut) or verify_slot(cut, read_state(cut).next)


def found_whole(device: Device) -> bool:
    try:
        find_layout(device)
    except InputError:
        return False
    return True


def test_holes_stay_holes(tmp_path: Path) -> None:
    new_raw(tmp_path / "file", 8 * MIB)
    with (tmp_path / "file").open("r+b") as file:
        file.seek(5 * MIB + 123)
        file.write(b"here")
    new_raw(tmp_path / "disk", 16 * MIB)
    with open_device(tmp_path / "disk", write=True) as device:
        copy_data(tmp_path / "file", device, MIB)
        assert device.read_at(6 * MIB + 123, 4) == b"here"
    assert (tmp_path / "disk").stat().st_blocks * 512 < MIB
