"""Survey: a recorded machine gives exactly its hardware; this one agrees with lscpu and lsblk."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from onejob.model.errors import LacksError
from onejob.model.hardware import (
    Device,
    Disk,
    Hardware,
    HugePages,
    Interface,
    MemoryNode,
    ProcessorKind,
    Processors,
)
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
    "proc/iomem": "00001000-0009fbff : System RAM\n00100000-3fffffff : System RAM\n",
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "sys/devices/system/cpu/online": "0-1\n",
    "sys/devices/system/cpu/present": "0-1\n",
    "sys/devices/system/cpu/cpu0/topology/physical_package_id": "0\n",
    "sys/devices/system/cpu/cpu0/topology/core_id": "0\n",
    "sys/devices/system/cpu/cpu1/topology/physical_package_id": "0\n",
    "sys/devices/system/cpu/cpu1/topology/core_id": "0\n",
    "sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:  524288 kB\n",
    "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:  524287 kB\n",
    "sys/devices/system/node/node0/cpulist": "0-1\n",
    "sys/devices/system/node/online": "0-1\n",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "3\n",
    "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
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
    "sys/block/sr0/size": "0\n",
    "sys/block/sr0/removable": "1\n",
    "sys/devices/pci1/ata1/host1/block/sda/x": "",
    "sys/class/net/eth0/address": "02:00:00:00:00:01\n",
    "sys/class/net/eth0/addr_assign_type": "0\n",
    "sys/class/net/eth1/address": "02:00:00:00:00:02\n",
    "sys/class/net/eth1/addr_assign_type": "3\n",
    "sys/class/net/eth0/carrier": "1\n",
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
            count=2, model="Chip 9000", vendor="Maker", features=("fpu", "hypervisor", "sse"),
            sockets=1, cores=1,
        ),
        secure_boot="absent",
        memory_kib=1048576,
        nodes=(
            MemoryNode(number=0, memory_kib=524287, processors="0-1"),
            MemoryNode(number=1, memory_kib=524288),
        ),
        huge_pages=(HugePages(size_kib=2048, count=3), HugePages(size_kib=1048576)),
        disks=(
            Disk(name="nvme0n1", size_bytes=8192, driver="nvme"),
            Disk(name="sda", size_bytes=1048576, removable=True, rotational=True),
            Disk(name="sr0", size_bytes=0, removable=True, kind="optical"),
        ),
        interfaces=(
            Interface(name="eth0", driver="virtio_net", mac="02:00:00:00:00:01", link="up"),
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
        unclear=(
            "disk sr0: no medium",
            "interface eth1: it is not up, so it does not tell whether it has a link",
            "pci device 0000:00:01.0 (pci:v00001AF4d00001041): no driver has it",
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("serial", b"of-virtio\n"),
        ("device/serial", b"S4 of an NVMe disk   \n"),
        ("device/vpd_pg80", b"\0\x80\0\x0c  of SCSI\0\0\0"),
    ],
)
def test_a_disk_tells_its_serial_number(recorded: Path, place: str, told: bytes) -> None:
    path = recorded / "sys/block/sda" / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(told)
    serial = next(disk.serial for disk in survey(recorded).disks if disk.name == "sda")
    assert serial == told.lstrip(b"\0\x80\x0c").decode().strip(" \0\n")


def test_firmware_and_hypervisor(recorded: Path) -> None:
    (recorded / "sys/firmware/efi/efivars").mkdir(parents=True)
    (recorded / "sys/hypervisor").mkdir()
    (recorded / "sys/hypervisor/type").write_text("xen\n")
    assert (survey(recorded).firmware, survey(recorded).hypervisor) == ("uefi", "xen")


def efi_variable(root: Path, name: str, value: bytes) -> None:
    folder = root / "sys/firmware/efi/efivars"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c").write_bytes(value)


@pytest.mark.parametrize(
    ("variables", "answer"),
    [
        ({"SecureBoot": b"\6\0\0\0\1"}, "on"),
        ({"SecureBoot": b"\6\0\0\0\0"}, "off"),
        ({"SecureBoot": b"\6\0\0\0\1", "SetupMode": b"\6\0\0\0\1"}, "off"),
        ({"SecureBoot": b"\6\0\0\0\1", "SetupMode": b"\6\0\0\0\0"}, "on"),
        ({"SecureBoot": b""}, "unknown"),
        ({"Other": b"\6\0\0\0\1"}, "unknown"),
        ({}, "absent"),
    ],
)
def test_secure_boot(recorded: Path, variables: dict[str, bytes], answer: str) -> None:
    for name, value in variables.items():
        efi_variable(recorded, name, value)
    found = survey(recorded)
    assert found.secure_boot == answer
    assert any("Secure Boot" in each for each in found.unclear) == (answer == "unknown")


@pytest.mark.parametrize(
    ("state", "answer"), [(3, "on"), (2, "off"), (1, "unknown"), (0, "unknown"), (None, "unknown")]
)
def test_secure_boot_without_variables(recorded: Path, state: int | None, answer: str) -> None:
    """The kernel's stub has found it, though nobody mounts the variables (struct boot_params)."""
    (recorded / "sys/firmware/efi/runtime").mkdir(parents=True)
    if state is not None:
        (recorded / "sys/kernel/boot_params").mkdir(parents=True)
        data = b"\xff\xc3" * (0x1EC // 2) + bytes([state]) + bytes(0x800)
        (recorded / "sys/kernel/boot_params/data").write_bytes(data)
    assert survey(recorded).secure_boot == answer


def test_a_guests_clock_names_its_hypervisor(recorded: Path) -> None:
    clocks = recorded / "sys/devices/system/clocksource/clocksource0/available_clocksource"
    clocks.parent.mkdir(parents=True)
    clocks.write_text("tsc hyperv_clocksource_tsc_page acpi_pm\n")
    assert survey(recorded).hypervisor == "Hyper-V"
    clocks.write_text("tsc\n")
    (recorded / "sys/class/dmi/id/sys_vendor").unlink()
    assert survey(recorded).hypervisor == "unknown"
    assert any("does not say which" in each for each in survey(recorded).unclear)


def test_odd_processors_are_named(recorded: Path) -> None:
    (recorded / "proc/cpuinfo").write_text(CPU.format(0) + "\n" + CPU.format(1).replace("9", "8"))
    (recorded / "sys/devices/system/cpu/present").write_text("0-3\n")
    for kind, processors in (("core", "0"), ("atom", "1")):
        (recorded / f"sys/devices/cpu_{kind}").mkdir()
        (recorded / f"sys/devices/cpu_{kind}/cpus").write_text(f"{processors}\n")
    found = survey(recorded)
    assert found.unclear[:2] == (
        "processors of several models: Chip 8000, Chip 9000; the first one is named",
        "processors 2-3 are there and not in use",
    )
    assert found.processors.kinds == (
        ProcessorKind(name="atom", count=1),
        ProcessorKind(name="core", count=1),
    )


@pytest.mark.parametrize(
    ("path", "bus"),
    [
        ("pci0/0000:00:1f.2/ata1/host0/target0/block/sda", "ata"),
        ("pci0/0000:00:14.0/usb1/1-1/1-1:1.0/host2/block/sda", "usb"),
        ("pci0/0000:01:00.0/nvme/nvme0/sda", "nvme"),
        ("pci0/0000:00:05.0/virtio2/host3/target/block/sda", "scsi"),
        ("pci0/0000:00:05.0/virtio2/block/sda", "virtio"),
        ("platform/odd/block/sda", ""),
    ],
)
def test_what_a_disk_hangs_on(recorded: Path, path: str, bus: str) -> None:
    real = recorded / "sys/devices" / path
    real.parent.mkdir(parents=True)
    (recorded / "sys/block/sda").rename(real)
    (recorded / "sys/block/sda").symlink_to(f"../devices/{path}")
    assert next(disk.bus for disk in survey(recorded).disks if disk.name == "sda") == bus


def test_metal_has_no_hypervisor_and_a_micro_machine_no_firmware(recorded: Path) -> None:
    info = recorded / "proc/cpuinfo"
    info.write_text(info.read_text().replace(" hypervisor", ""))
    (recorded / "sys/class/dmi/id/sys_vendor").unlink()
    assert (survey(recorded).firmware, survey(recorded).hypervisor) == ("none", "")


@pytest.mark.parametrize("names", [("proc/cpuinfo",), ("proc/iomem", "proc/meminfo")])
def test_a_machine_that_cannot_be_read_is_said_to_be(
    recorded: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        (recorded / name).unlink()
    with pytest.raises(LacksError, match="/proc and /sys are not readable"):
        survey(recorded)


def test_a_thousand_processors_are_all_counted(recorded: Path) -> None:
    block = CPU.replace("sse", "sse " * 400)
    (recorded / "proc/cpuinfo").write_text("\n".join(block.format(n) for n in range(1000)))
    assert survey(recorded).processors.count == 1000


def test_memory_is_what_is_installed_where_the_map_can_be_read(recorded: Path) -> None:
    assert not any("iomem" in each for each in survey(recorded).unclear)
    ranges = "00001000-0009fbff : System RAM\n00100000-01ffffff : System RAM\n  0-1 : Kernel\n"
    (recorded / "proc/iomem").write_text(ranges)
    assert survey(recorded).memory_kib == 32 * 1024
    (recorded / "proc/iomem").write_text("00000000-00000000 : System RAM\n")  # without rights
    assert survey(recorded).memory_kib == 1024 * 1024
    assert any("/proc/iomem" in each for each in survey(recorded).unclear)


def test_what_may_not_be_read_is_named(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user without rights: opening one file fails as the kernel makes it fail."""
    whole = Path.open

    def guarded(path: Path, *words: Any, **options: Any) -> IO[Any]:
        if path.name == "address":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path, *words, **options)

    monkeypatch.setattr(Path, "open", guarded)
    found = survey(recorded)
    assert [interface.mac for interface in found.interfaces] == ["", ""]
    assert found.unclear[:2] == (
        "/sys/class/net/eth0/address: no right to read it",
        "/sys/class/net/eth1/address: no right to read it",
    )


def printed(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def this() -> Hardware:
    """The machine that the tests run on."""
    return survey_machine(LocalSource(), "this", local_architecture())


def test_this_machine_agrees_with_lscpu(this: Hardware) -> None:
    rows = [row for row in printed("lscpu", "--parse=CPU").split() if row.isdecimal()]
    assert this.processors.count == len(rows) == os.sysconf("SC_NPROCESSORS_ONLN")
    assert this.architecture == os.uname().machine
    told = {
        row["field"].rstrip(":"): row["data"]
        for row in _flat(json.loads(printed("lscpu", "-J"))["lscpu"])
    }
    assert this.processors.model == told["Model name"]
    assert this.processors.vendor == told["Vendor ID"]
    assert set(this.processors.features) == set(told["Flags"].split())
    assert this.processors.sockets == int(told["Socket(s)"])
    assert this.processors.cores == int(told["Socket(s)"]) * int(told["Core(s) per socket"])
    assert len(this.nodes) == int(told.get("NUMA node(s)", 0))
    assert bool(this.hypervisor) == ("Hypervisor vendor" in told)
    if this.hypervisor in ("KVM", "Xen"):
        assert this.hypervisor == told["Hypervisor vendor"]


def _flat(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Newer lscpu nests what older ones list."""
    for row in rows:
        yield row
        yield from _flat(row.get("children", []))


def test_this_machine_agrees_with_lsblk(this: Hardware) -> None:
    columns = "NAME,SIZE,TYPE,RM,ROTA,MODEL"
    rows = json.loads(printed("lsblk", "--nodeps", "--bytes", "--json", "--output", columns))
    made_of_memory = ("ram", "zram", "nbd", "md")
    assert {
        (disk.name, disk.size_bytes, disk.kind, disk.removable, disk.rotational, disk.model)
        for disk in this.disks
        if disk.size_bytes
    } == {
        (
            row["name"], row["size"], "optical" if row["type"] == "rom" else "disk", row["rm"],
            row["rota"], (row["model"] or "").strip(),
        )
        for row in rows["blockdevices"]
        if row["type"] in ("disk", "rom")
        if row["size"] and not row["name"].startswith(made_of_memory)
    }  # fmt: skip


def test_this_machine_agrees_with_lshw(this: Hardware) -> None:
    """Of what lshw lists: installed memory, processors' names, interfaces with a device."""
    found = json.loads(printed("lshw", "-quiet", "-json"))
    parts = list(_parts(found if isinstance(found, list) else [found]))
    memory = [part for part in parts if part["id"].split(":")[0] == "memory" and "size" in part]
    assert memory
    left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    assert left <= this.memory_kib
    assert this.memory_kib * 1024 <= 1.05 * sum(part["size"] for part in memory)
    assert this.processors.model in {part.get("product") for part in parts}
    told = {
        part["serial"]: part for part in parts if part["class"] == "network" and "serial" in part
    }
    for interface in this.interfaces:
        if interface.mac:
            settings = told[interface.mac]["configuration"]
            assert settings["driver"] in (interface.driver, interface.driver.replace("_", "-"))
            if interface.link != "unknown":
                assert settings["link"] == ("yes" if interface.link == "up" else "no")


def _parts(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row
        yield from _parts(row.get("children", []))
