"""The disk to install on is the only one that has all that is said of it, or none is."""

from pathlib import Path

import pytest

import small_world
from onejob.installer.find import merge
from onejob.installer.install import check_hardware, on_target
from onejob.installer.order import as_answers, as_order, read_answers
from onejob.installer.target import Target, find_target, possible_disks
from onejob.model.answers import Answers, DiskAnswer, NetworkAnswer
from onejob.model.errors import InputError
from onejob.model.hardware import Disk

GB = 10**9
FAST = Disk(name="nvme0n1", size_bytes=512 * GB, bus="nvme", model="Quick 3", serial="Q1")
SLOW = Disk(name="sda", size_bytes=2000 * GB, bus="ata", model="Large 1", serial="L1")
TWIN = Disk(name="sdb", size_bytes=2000 * GB, bus="ata", model="Large 1", serial="L2")
STICK = Disk(name="sdc", size_bytes=8 * GB, bus="usb", removable=True)
ALL = (FAST, SLOW, TWIN, STICK)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (DiskAnswer(serial="L2"), "sdb"),
        (DiskAnswer(model="Quick 3"), "nvme0n1"),
        (DiskAnswer(size_gb=512), "nvme0n1"),
        (DiskAnswer(size_gb=2000, serial="L1"), "sda"),
        (DiskAnswer(size_gb=8), "sdc"),
    ],
)
def test_the_one_that_fits_is_the_target(answer: DiskAnswer, name: str) -> None:
    target = find_target(answer, ALL)
    assert (target.path, target.disk and target.disk.name) == (Path("/dev") / name, name)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (DiskAnswer(), "no disk to install on was named"),
        (DiskAnswer(erase=True), "no disk to install on was named"),
        (DiskAnswer(size_gb=2000), r"2 disks are as the answers say \(size_gb 2000\)"),
        (DiskAnswer(serial="L1", size_gb=512), "no disk is as the answers say"),
        (DiskAnswer(path="/dev/null"), "is no disk and no file"),
        (DiskAnswer(path="/dev/no-such-disk"), "No such file"),
    ],
)
def test_otherwise_it_is_refused_and_all_are_named(answer: DiskAnswer, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        find_target(answer, ALL)
    assert "/dev/sdb (2000.0 GB, ata, Large 1, serial L2)" in caught.value.hint


def test_without_a_disk_that_is_what_is_said() -> None:
    with pytest.raises(InputError) as caught:
        find_target(DiskAnswer(), ())
    assert caught.value.hint == "this machine has no disk that can be written"


def test_what_is_read_and_what_cannot_be_written_is_no_choice() -> None:
    drive = Disk(name="sr0", size_bytes=GB, kind="optical", removable=True)
    empty = Disk(name="sdd", size_bytes=0, removable=True)
    disks = (STICK, drive, empty, SLOW, FAST)
    assert [disk.name for disk in possible_disks(disks)] == ["sda", "nvme0n1", "sdc"]
    assert [disk.name for disk in possible_disks(disks, {"sdc"})] == ["sda", "nvme0n1"]


def test_the_plan_is_for_the_disk_that_was_chosen() -> None:
    machine = small_world.hardware(disks=(FAST, STICK))
    disks = on_target(machine, Target(Path("/dev/sdc"), STICK)).disks
    assert [(disk.name, disk.removable) for disk in disks] == [("sdc", False), ("nvme0n1", False)]
    assert on_target(machine, Target(Path("/dev/sda"), SLOW)) == machine


def test_a_machine_of_another_architecture_is_refused() -> None:
    with pytest.raises(InputError, match="this machine is riscv64"):
        check_hardware(small_world.hardware(architecture="riscv64"))


def test_a_machine_that_starts_only_what_is_signed_is_refused() -> None:
    with pytest.raises(InputError, match="Secure Boot"):
        check_hardware(small_world.hardware(secure_boot="on"))
    check_hardware(small_world.hardware(secure_boot="off"))


def test_options_go_before_the_answer_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    path.write_text('service = "a"\ntrust = "root.json"\ndisk = { serial = "L1", erase = true }\n')
    over = as_answers({"service": "b", "disk": {"path": "/dev/sdx"}, "network": {"ip": "off"}})
    assert merge(read_answers(path), over) == Answers(
        service="b",
        trust=str(tmp_path / "root.json"),
        disk=DiskAnswer(path="/dev/sdx", serial="L1", erase=True),
        network=NetworkAnswer(ip="off"),
    )


def test_what_nobody_said_is_named() -> None:
    with pytest.raises(InputError, match="not said: which service, from which repository"):
        as_order(Answers())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", "1: colour: unknown key"),
        ("[disk]\nsize_gb = 0", "2: disk.size_gb"),
        ('[network]\nip = "dhcp root=/dev/sda"', "2: network.ip"),
        ('[disk]\npath = "vda"', "2: disk.path"),
    ],
)
def test_a_fault_of_an_answer_file_is_named_by_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_answers(path)
    assert f"{path}:{words}" in caught.value.what
