"""Survey: a recorded machine gives exactly its hardware; this one agrees with lscpu and lsblk."""

import os
import subprocess
from pathlib import Path

import pytest

from onejob.model.errors import LacksError
from onejob.model.hardware import Device, Disk, Hardware, Interface, Processors
from onejob.survey.source import LocalSource, local_architecture
from onejob.survey.survey import survey_machine

CPU = (
    "processor\t: {}\nvendor_id\t: Maker\nmodel name\t: Chip 9000\nflags\t\t: sse fpu hypervisor\n"
)
FILES = {
    "proc/cpuinfo": CPU.format(0) + "\n" + CPU.format(1) + "\n",
    "proc/meminfo": "MemTotal:        1048576 kB\nMemFree:  5 kB\n",
    "proc/consoles": "tty0   -WU (E  p  )    4:1\n"
    "ttyS0  -W- (E  p a)    4:64\nhvc0  -W- (EC p)  5:1\n",
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "sys/block/sda/size": "2048\n",
    "sys/block/sda/removable": "1\n",
    "sys/block/sda/queue/rotational": "1\n",
    "sys/block/nvme0n1/size": "16\n",
    "sys/block/nvme0n1/queue/rotational": "0\n",
    "sys/block/nvme0c0n1/size": "16\n",
    "sys/block/nvme0c0n1/hidden": "1\n",
    "sys/block/loop0/size": "99\n",
    "sys/block/zram0/size": "99\n",
    "sys/block/dm-0/size": "99\n",
    "sys/block/sr0/size": "99\n",
    "sys/class/net/eth0/address": "02:00:00:00:00:01\n",
    "sys/class/net/eth0/addr_assign_type": "0\n",
    "sys/class/net/eth1/address": "02:00:00:00:00:02\n",
    "sys/class/net/eth1/addr_assign_type": "3\n",
    "sys/class/net/lo/address": "00:00:00:00:00:00\n",
    "sys/devices/nic0/modalias": "",
    "sys/devices/nic1/modalias": "",
    "sys/bus/pci/devices/0000:00:01.0/modalias": "pci:v00001AF4d00001041\n",
    "sys/bus/pci/devices/0000:00:02.0/vendor": "0x1af4\n",
    "sys/bus/virtio/devices/virtio0/modalias": "virtio:d00000002v554D4551\n",
    "sys/bus/usb/drivers/hub/x": "",
}
LINKS = {
    "sys/block/nvme0n1/device/driver": "../../../bus/pci/drivers/nvme",
    "sys/class/net/eth0/device": "../../../devices/nic0",
    "sys/class/net/eth1/device": "../../../devices/nic1",
    "sys/devices/nic0/driver": "../../bus/virtio/drivers/virtio_net",
    "sys/bus/virtio/devices/virtio0/driver": "../../drivers/virtio_blk",
}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """The /proc and /sys of a machine."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, target in LINKS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return tmp_path


def survey(root: Path) -> Hardware:
    return survey_machine(LocalSource(root), "box", "x86_64")


def test_a_recorded_machine_gives_exactly_its_hardware(recorded: Path) -> None:
    assert survey(recorded) == Hardware(
        name="box",
        architecture="x86_64",
        how="metal",
        firmware="bios",
        hypervisor="QEMU",
        processors=Processors(
            count=2, model="Chip 9000", vendor="Maker", features=("fpu", "hypervisor", "sse")
        ),
        memory_kib=1048576,
        disks=(
            Disk(name="nvme0n1", size_bytes=8192, driver="nvme"),
            Disk(name="sda", size_bytes=1048576, removable=True, rotational=True),
        ),
        interfaces=(
            Interface(name="eth0", driver="virtio_net", mac="02:00:00:00:00:01"),
            Interface(name="eth1"),
        ),
        devices=(
            Device(
                bus="virtio", name="virtio0", modalias="virtio:d00000002v554D4551",
                driver="virtio_blk",
            ),
            Device(bus="pci", name="0000:00:01.0", modalias="pci:v00001AF4d00001041"),
        ),
        consoles=("hvc0", "ttyS0"),
    )  # fmt: skip


def test_firmware_and_hypervisor(recorded: Path) -> None:
    (recorded / "sys/firmware/efi/efivars").mkdir(parents=True)
    (recorded / "sys/hypervisor").mkdir()
    (recorded / "sys/hypervisor/type").write_text("xen\n")
    assert (survey(recorded).firmware, survey(recorded).hypervisor) == ("uefi", "xen")


def test_metal_has_no_hypervisor_and_a_micro_machine_no_firmware(recorded: Path) -> None:
    info = recorded / "proc/cpuinfo"
    info.write_text(info.read_text().replace(" hypervisor", ""))
    (recorded / "sys/class/dmi/id/sys_vendor").unlink()
    assert (survey(recorded).firmware, survey(recorded).hypervisor) == ("none", "")


@pytest.mark.parametrize("name", ["proc/cpuinfo", "proc/meminfo"])
def test_a_machine_that_cannot_be_read_is_said_to_be(recorded: Path, name: str) -> None:
    (recorded / name).unlink()
    with pytest.raises(LacksError, match="/proc and /sys are not readable"):
        survey(recorded)


def test_a_thousand_processors_are_all_counted(recorded: Path) -> None:
    block = CPU.replace("sse", "sse " * 400)
    (recorded / "proc/cpuinfo").write_text("\n".join(block.format(n) for n in range(1000)))
    assert survey(recorded).processors.count == 1000


def test_memory_is_what_is_installed_where_the_map_can_be_read(recorded: Path) -> None:
    ranges = "00001000-0009fbff : System RAM\n00100000-01ffffff : System RAM\n  0-1 : Kernel\n"
    (recorded / "proc/iomem").write_text(ranges)
    assert survey(recorded).memory_kib == 32 * 1024
    (recorded / "proc/iomem").write_text("00000000-00000000 : System RAM\n")  # without rights
    assert survey(recorded).memory_kib == 1024 * 1024


def listed(*words: str) -> list[list[str]]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def test_this_machine_agrees_with_lscpu() -> None:
    found = survey_machine(LocalSource(), "this", local_architecture())
    rows = [row for row in listed("lscpu", "--parse=CPU") if not row[0].startswith("#")]
    assert found.processors.count == len(rows) == os.sysconf("SC_NPROCESSORS_ONLN")
    assert found.architecture == os.uname().machine
    left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    assert left <= found.memory_kib <= 1.1 * left, "the kernel keeps a little for itself"


def test_this_machine_agrees_with_lsblk() -> None:
    found = survey_machine(LocalSource(), "this", local_architecture())
    rows = listed("lsblk", "--nodeps", "--bytes", "--noheadings", "--output", "NAME,SIZE,TYPE")
    disks = {row[0]: int(row[1]) for row in rows if row[2] == "disk"}
    made_of_memory = {name for name in disks if name.startswith(("ram", "zram", "nbd", "md"))}
    assert {disk.name: disk.size_bytes for disk in found.disks if disk.size_bytes} == {
        name: size for name, size in disks.items() if size and name not in made_of_memory
    }
