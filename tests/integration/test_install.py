"""``onejob install`` on raw files: what it writes, refuses, and finishes where it was cut short."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from built_plans import host_file
from onejob.base.linux import mount, unmount
from onejob.base.progress import Quiet
from onejob.bench.stand_in import with_kernel
from onejob.builder.image import build_image
from onejob.disk.device import open_device
from onejob.disk.layout import find_layout
from onejob.disk.state import SLOTS, State, read_state
from onejob.disk.write import verify_slot
from onejob.model.hardware import Device, Hardware
from onejob.model.image import MANIFEST, PROFILE, Content, Image, open_image
from onejob.model.jsonfile import to_json
from onejob.model.plan import RenewedFile
from onejob.repository.kit import make_kit
from onejob.repository.push import create
from some_kits import build_for, profile_for, ready_hardware
from some_repositories import files_of, served

from .small_image import compile_service

pytestmark = [pytest.mark.root]

TARGET = "a-pc"
DISK_BYTES = 512 << 20


@dataclass(frozen=True)
class World:
    """A kit with the small service, planned for a microvm, and a kernel that fits the target."""

    folder: Path
    image: Image
    program: Path

    @property
    def kit(self) -> Path:
        return self.folder / "onejob"

    @property
    def root(self) -> Path:
        return self.folder / "keys/root.json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("kit")
    program = compile_service(folder)
    profile = profile_for(program)
    image = build_for(profile, ready_hardware("qemu-microvm"), folder / "small.onejob")
    fitting = build_for(profile, target_hardware(), folder / "target.onejob")
    with_kernel(fitting, fitting.plan.kernel_options, b"the kernel of the target")
    make_kit(folder, image, image, fitting)
    return World(folder, image, program)


def target_hardware() -> Hardware:
    """A PC as its own survey would have it."""
    return ready_hardware("qemu-q35").model_copy(update={"how": "metal", "name": TARGET})


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty raw disk."""
    path = tmp_path / "disk.raw"
    with path.open("xb") as file:
        file.truncate(DISK_BYTES)
    return path


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def install(world: World, tmp_path: Path) -> Run:
    """``install("--disk", path)`` of the small service, on the target's hardware."""
    hardware = tmp_path / "hardware.json"
    hardware.write_text(to_json(target_hardware()))

    def run(*words: str | Path, usual: bool = True) -> subprocess.CompletedProcess[str]:
        given = ["--hardware", hardware, "--from", world.kit, "--trust", world.root]
        line = [*(["small", *given] if usual else []), *words]
        return subprocess.run(
            command(*line), env=environment(tmp_path), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "onejob.cli.main", "install", *map(str, words)]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "ONEJOB_STATE": str(folder / "state"), "TMPDIR": str(folder)}


def done(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_a_service_is_installed_and_read_back(world: World, disk: Path, install: Run) -> None:
    said = done(install("--disk", disk, "--erase", "--ip", "dhcp"))
    assert "a-pc (x86_64)" in said.stdout
    assert f"small is on {disk}, slot a, and was read back." in said.stdout
    with open_device(disk) as device:
        assert read_state(device) == State("a")
        papers = verify_slot(device, "a")
    assert papers.plan.machine.hardware == TARGET
    assert papers.facts.ip == "dhcp"
    assert papers.profile == world.image.profile.read_bytes()


def test_without_consent_nothing_is_written(disk: Path, install: Run) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", "precious", disk], check=True, timeout=60)
    before = disk.read_bytes()
    said = install("--disk", disk)
    assert said.returncode == 4
    assert f"all that is on {disk} would be lost: ext4 'precious'" in said.stderr
    assert disk.read_bytes() == before


def test_an_answer_file_says_all(world: World, disk: Path, install: Run, tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(world.root.read_bytes())
    answers = tmp_path / "answers.toml"
    answers.write_text(f"""
        service = "small"
        repository = "{world.kit}"
        trust = "root.json"
        disk = {{ path = "{disk}", erase = true }}
        network = {{ ip = "192.0.2.7::192.0.2.1:255.255.255.0::eth0:off" }}
    """)
    words = ("--answers", answers, "--hardware", tmp_path / "hardware.json")
    done(install(*words, usual=False))
    with open_device(disk) as device:
        assert verify_slot(device, "a").facts.ip == "192.0.2.7::192.0.2.1:255.255.255.0::eth0:off"


def test_an_answer_file_with_a_fault_is_refused_by_line(install: Run, tmp_path: Path) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text('service = "small"\n[disk]\nerase = "yes"\n')
    said = install("--answers", answers)
    assert said.returncode == 4
    assert f"{answers}:3: disk.erase:" in said.stderr


def test_the_same_service_goes_beside_and_another_does_not(
    world: World, disk: Path, install: Run, tmp_path: Path
) -> None:
    done(install("--disk", disk, "--erase"))
    with open_device(disk) as device:
        data = find_layout(device)["data"]
        before = device.read_at(data.start, data.size)
    said = done(install("--disk", disk))
    assert (
        "tried at the next start; should it not get ready, there is onejob's small" in said.stdout
    )
    with open_device(disk) as device:
        assert read_state(device) == State("a", "b", 3)
        assert verify_slot(device, "a").plan == verify_slot(device, "b").plan
        assert device.read_at(data.start, data.size) == before

    answers = tmp_path / "fresh.toml"
    for words in ("again = false", "again = false, fresh = true, erase = true"):
        answers.write_text(f"disk = {{ {words} }}")
        refused = install("--disk", disk, "--answers", answers)
        assert refused.returncode == 4
        assert "has this system already, in slot" in refused.stderr
    with open_device(disk, write=True) as device:
        assert read_state(device) == State("a", "b", 3)
        for slot in SLOTS:
            device.write_at(find_layout(device)[f"root-{slot}"].start, bytes(4096))
    answers.write_text("disk = { again = false }")
    done(install("--disk", disk, "--answers", answers))
    with open_device(disk) as device:
        verify_slot(device, "b")  # it was damaged, so it was written again

    answers.write_text("disk = { fresh = true }")
    refused = install("--disk", disk, "--answers", answers)
    assert refused.returncode == 4
    assert "would be lost: onejob's small, which boots from slot a" in refused.stderr
    done(install("--disk", disk, "--answers", answers, "--erase"))
    with open_device(disk) as device:
        assert read_state(device) == State("a")


REFUSALS: dict[str, tuple[Callable[[Hardware], Hardware], str]] = {
    "no disk": (
        lambda found: found.model_copy(update={"disks": ()}),
        "has no disk that the installer can see",
    ),
    "little memory": (
        lambda found: found.model_copy(update={"memory_kib": 16 << 10}),
        "hardware a-pc: 16 MiB of memory; small and its system need",
    ),
    "another architecture": (
        lambda found: found.model_copy(update={"architecture": "riscv64"}),
        "architecture 'riscv64'",
    ),
    "no driver for the boot disk": (
        lambda found: with_device(found, "pci:v0000ABCDd00000001sv00000000sd00000000bc01sc80i00"),
        "hardware a-pc: missing driver for the boot disk: 0000:00:09.0",
    ),
    "no driver for every network card": (
        lambda found: with_device(found, "pci:v0000ABCDd00000001sv00000000sd00000000bc02sc00i00"),
        "hardware a-pc: missing driver for every network card: 0000:00:09.0",
    ),
    "no kernel that fits": (
        lambda found: with_device(found, "pci:v00008086d000010D3sv00000000sd00000000bc02sc00i00"),
        "lacks E1000E=y (",
    ),
}


def with_device(found: Hardware, modalias: str) -> Hardware:
    """`found`, whose only disk controller or network card is another one."""
    kind = modalias[modalias.index("bc") :][:4]
    virtio = {"bc01": ("virtio:d00000002v", "virtio:d00000008v"), "bc02": ("virtio:d00000001v",)}
    others = tuple(
        device
        for device in found.devices
        if kind not in device.modalias and not device.modalias.startswith(virtio[kind])
    )
    device = Device(bus="pci", name="0000:00:09.0", modalias=modalias)
    return found.model_copy(update={"devices": (*others, device)})


@pytest.mark.parametrize("why", REFUSALS)
def test_a_machine_that_does_not_do_is_refused(
    why: str, disk: Path, install: Run, tmp_path: Path
) -> None:
    change, words = REFUSALS[why]
    hardware = tmp_path / "other.json"
    hardware.write_text(to_json(change(target_hardware())))
    said = install("--disk", disk, "--erase", "--hardware", hardware)
    assert (said.returncode, words in said.stderr) in {(4, True), (7, True)}, said.stderr
    assert not disk.read_bytes().strip(b"\0")


def test_a_disk_that_is_too_small_is_refused(install: Run, tmp_path: Path) -> None:
    small = tmp_path / "small.raw"
    small.write_bytes(bytes(16 << 20))
    said = install("--disk", small, "--erase")
    assert said.returncode == 4
    assert f"{small} is too small: 16 MiB, small needs" in said.stderr
    assert "] plan\n" not in said.stderr, "it is said before anything is made"
    assert not small.read_bytes().strip(b"\0")


def test_wrong_signatures_and_contents_are_refused(
    world: World, disk: Path, install: Run, tmp_path: Path
) -> None:
    kit = tmp_path / "kit"
    shutil.copytree(world.kit, kit)
    (root,) = (kit / "targets").glob("*.root.img")
    root.write_bytes(root.read_bytes()[:-1] + b"!")
    words = ("small", "--hardware", tmp_path / "hardware.json", "--disk", disk, "--erase")
    said = install(*words, "--from", kit, "--trust", world.root, usual=False)
    assert (said.returncode, "is not what was signed" in said.stderr) == (4, True)
    create(tmp_path / "other", tmp_path / "other-keys", 30)
    other = tmp_path / "other-keys/root.json"
    said = install(*words, "--from", world.kit, "--trust", other, usual=False)
    assert said.returncode == 4
    assert "is not signed by who is trusted" in said.stderr or "another root" in said.stderr
    said = install(*words, "--from", tmp_path / "other", "--trust", other, usual=False)
    assert "no image of 'small' in this repository" in said.stderr
    assert not disk.read_bytes().strip(b"\0")


def test_a_profile_of_another_binary_is_refused(
    world: World, disk: Path, install: Run, tmp_path: Path
) -> None:
    image = tmp_path / "small.onejob"
    shutil.copytree(world.image.folder, image)
    text = (image / PROFILE).read_text()
    digest = hashlib.sha256(world.program.read_bytes()).hexdigest()
    assert digest in text
    data = text.replace(digest, hashlib.sha256(b"another").hexdigest()).encode()
    (image / PROFILE).write_bytes(data)
    content = Content(name=PROFILE, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    others = tuple(each for each in world.image.manifest.contents if each.name != PROFILE)
    manifest = world.image.manifest.model_copy(update={"contents": (*others, content)})
    (image / MANIFEST).write_text(to_json(manifest))
    kit = make_kit(tmp_path, open_image(image), open_image(image))
    said = install("--disk", disk, "--erase", "--from", kit, "--trust", tmp_path / "keys/root.json")
    assert said.returncode == 4
    assert f"the profile saw another {world.program} than the image has" in said.stderr


def test_a_disk_in_use_is_refused(disk: Path, install: Run) -> None:
    with open_device(disk, write=True):
        said = install("--disk", disk, "--erase")
    assert (said.returncode, f"disk {disk}: it is in use" in said.stderr) == (4, True)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    """A loop device with a divided disk that has a file system in its first partition."""
    image = tmp_path / "loop.raw"
    with image.open("xb") as file:
        file.truncate(64 << 20)
    subprocess.run(["sgdisk", "-n1:2048:0", "-c1:stick", image], check=True, capture_output=True)
    made = subprocess.run(
        ["losetup", "--find", "--show", "--partscan", image],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    device = Path(made.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True, timeout=60)


@pytest.fixture
def stick(loop: Path, tmp_path: Path) -> Iterator[Path]:
    """The loop device as a disk with ext4, mounted at a folder."""
    subprocess.run(["mkfs.ext4", "-q", "-F", loop], check=True, timeout=60)
    place = tmp_path / "mounted"
    place.mkdir()
    mount(str(loop), place, "ext4")
    try:
        yield place
    finally:
        unmount(place)


def test_a_mounted_disk_and_a_disk_that_is_read_are_refused(
    world: World, loop: Path, stick: Path, install: Run, tmp_path: Path
) -> None:
    said = install("--disk", loop, "--erase")
    assert (said.returncode, f"disk {loop}: it is in use" in said.stderr) == (4, True)
    shutil.copytree(world.kit, stick / "onejob")
    for target in (loop, tmp_path / "loop.raw"):
        words = ("small", "--hardware", tmp_path / "hardware.json", "--disk", target, "--erase")
        said = install(*words, "--from", stick / "onejob", "--trust", world.root, usual=False)
        assert said.returncode == 4
        assert f"{target} is the disk that {stick / 'onejob'} is read from" in said.stderr


def test_a_kit_is_fetched_from_a_web_server(
    world: World, disk: Path, install: Run, tmp_path: Path
) -> None:
    words = ("small", "--hardware", tmp_path / "hardware.json", "--disk", disk, "--erase")
    with served(files_of(world.kit)) as address:
        done(install(*words, "--from", address, "--trust", world.root, usual=False))
    with open_device(disk) as device:
        assert verify_slot(device, "a").manifest.name == "small"


def test_an_image_with_a_newer_system_is_installed_with_it(
    world: World, disk: Path, install: Run, tmp_path: Path
) -> None:
    program = tmp_path / "small"
    shutil.copy(world.program, program)
    image = build_for(profile_for(program), target_hardware(), tmp_path / "small.onejob")
    program.write_bytes(program.read_bytes() + b"newer")
    newer = host_file(program, mode=0o755)
    files = tuple(newer if f.path == newer.path else f for f in image.plan.files)
    renewed = (RenewedFile(path=newer.path, reason="a test"),)
    plan = image.plan.model_copy(update={"files": files, "renewed": renewed})
    whole = build_image(
        plan, image.profile.read_text(), image.folder,
        with_kernel=False, cache=tmp_path, progress=Quiet(),
    )  # fmt: skip
    kit = make_kit(tmp_path, whole, with_kernel(whole, plan.kernel_options))
    trust = tmp_path / "keys/root.json"
    done(install("--disk", disk, "--erase", "--from", kit, "--trust", trust))
    with open_device(disk) as device:
        papers = verify_slot(device, "a")
    assert papers.manifest.renewed == papers.plan.renewed == renewed
    assert newer.sha256 in {file.sha256 for file in papers.plan.files}
