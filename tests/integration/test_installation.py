"""The installer's medium on PCs in QEMU with an empty disk: off and on again, and nginx answers."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from onejob.base.natives import data_path
from onejob.base.progress import Quiet
from onejob.bench.bare import bare_instance
from onejob.bench.installation import (
    DESKTOP,
    SERVER,
    Machine,
    install,
    installed,
    make_medium,
    new_disk,
    words,
)
from onejob.disk.device import open_device
from onejob.disk.layout import find_layout
from onejob.disk.options import Options
from onejob.disk.write import verify_slot
from onejob.drive.ready import wait_ready
from onejob.exporter.export import export_image
from onejob.model.errors import InputError
from onejob.model.image import Image, open_image
from onejob.model.profile_xml import load_profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.repository.kit import make_kit
from onejob.system.network import Publish, free_port
from running import Onejob, must

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.kernel, pytest.mark.qemu]

ROOT = Path(__file__).resolve().parents[2]
BUILD_LIMIT_S = 3000
LIMIT_S = 900.0
USUAL = {
    "acpi", "ahci", "cd-rom", "console-serial", "keyboard", "mitigations", "watchdog-tco",
}  # fmt: skip
STICK = Machine("uefi", "nvme", "e1000", stick=True)
OLD_STICK = Machine("bios", "ide-hd", "e1000e", stick=True)


class World(NamedTuple):
    """A medium that installs nginx, the kernels of its kit, and nginx's workload."""

    medium: Path
    virtio: Image
    pc: Image
    workload: Workload


@pytest.fixture(scope="module")
def world(nginx_profile: Path, tmp_path_factory: pytest.TempPathFactory, onejob: Onejob) -> World:
    """One kernel is for a server with virtio devices, the other for any PC."""
    subprocess.run(
        [sys.executable, ROOT / "scripts/make_installer.py"], check=True, timeout=BUILD_LIMIT_S
    )
    folder = tmp_path_factory.mktemp("kit")
    (folder / "servers.json").write_text(json.dumps(servers()))

    def built(name: str, hardware: Path | str) -> Image:
        place = folder / f"{name}.onejob"
        words = ("build", nginx_profile, "--hardware", hardware, "-o", place)
        must(onejob(*words, timeout=BUILD_LIMIT_S))
        return open_image(place)

    virtio, pc = built("virtio", folder / "servers.json"), built("pc", "pc")
    make_kit(folder / "kit", virtio, virtio, pc)
    installer = open_image(ROOT / "build/installer/installer.onejob")
    trust = folder / "kit/keys/root.json"
    medium = make_medium(installer, folder / "kit/onejob", trust, "nginx", folder / "medium")
    profile = load_profile(nginx_profile)
    return World(medium, virtio, pc, parse_toml(profile.workload, Workload, "workload"))


def servers() -> dict[str, Any]:
    """Of the usual PCs those whose disks and network cards are virtio's."""
    found: dict[str, Any] = json.loads((data_path("hardware") / "pc.json").read_text())
    return {
        **found,
        "name": "servers",
        "disks": [disk for disk in found["disks"] if disk["bus"] == "virtio"],
        "devices": [
            device
            for device in found["devices"]
            if device["name"] in USUAL or device["name"].startswith("virtio")
        ],
    }


def answers(machine: Machine, disk: Path, workload: Workload) -> None:
    with installed(machine, disk, workload.ports) as guest:
        wait_ready(guest.target, patient(workload), guest.since)


def patient(workload: Workload) -> Workload:
    return workload.model_copy(
        update={"ready": workload.readiness().model_copy(update={"within": 240.0})}
    )


KERNELS: list[tuple[Machine, Callable[[World], Image]]] = [
    (SERVER, lambda world: world.virtio),
    (DESKTOP, lambda world: world.pc),
    (STICK, lambda world: world.pc),
    (OLD_STICK, lambda world: world.pc),
]


@pytest.mark.parametrize(("machine", "kernel"), KERNELS, ids=[str(each) for each, _ in KERNELS])
def test_an_empty_disk_becomes_a_system_that_serves(
    world: World, tmp_path: Path, machine: Machine, kernel: Callable[[World], Image]
) -> None:
    """The kernel is the smallest of the kit that has all that this hardware needs."""
    disk = new_disk(tmp_path / "disk.raw")
    _, said = install(machine, disk, world.medium, LIMIT_S)
    assert "was read back" in said
    with open_device(disk) as device:
        papers = verify_slot(device, "a")
    assert papers.manifest.kernel == kernel(world).manifest.kernel
    answers(machine, disk, world.workload)


def test_a_run_that_was_cut_off_is_finished_by_the_next(world: World, tmp_path: Path) -> None:
    """The disk that was being written boots nothing: the medium starts once more by itself."""
    disk = new_disk(tmp_path / "disk.raw")
    with bare_instance("cut off", words(SERVER, disk, world.medium, ()), ()) as guest:
        await_words(guest.target.output, "writing the disk")
        time.sleep(3)  # into the writing
    with open_device(disk) as device, pytest.raises(InputError):
        find_layout(device)
    install(SERVER, disk, world.medium, LIMIT_S)
    answers(SERVER, disk, world.workload)


@pytest.mark.parametrize("machine", [STICK, OLD_STICK], ids=str)
def test_a_service_runs_from_a_stick(world: World, tmp_path: Path, machine: Machine) -> None:
    """The CD of a service is a stick, too; nothing else of this machine boots."""
    export_image(world.pc, "iso", tmp_path / "iso", Quiet(), Options())
    medium = tmp_path / "iso" / f"{world.pc.plan.name}.iso"
    disk = new_disk(tmp_path / "disk.raw")
    forwards = [Publish("127.0.0.1", free_port(), port) for port in world.workload.ports]
    with bare_instance("stick", words(machine, disk, medium, forwards), forwards) as guest:
        wait_ready(guest.target, patient(world.workload), guest.since)
        assert "not protected" not in guest.target.console.text()  # logs, though they are in memory


def await_words(said: Callable[[], str], text: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while text not in said():
        assert time.monotonic() < deadline, said()[-3000:]
        time.sleep(0.2)
