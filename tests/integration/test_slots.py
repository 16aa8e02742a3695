"""Slots of an installed disk, started by GRUB: a new one is tried, and taken or left by itself."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from built_plans import host_file
from onejob.base.process import end_group
from onejob.base.progress import Quiet
from onejob.builder.image import build_image
from onejob.disk.command_line import TAKEN_WITHIN_S
from onejob.disk.device import SECTOR, new_raw, open_device
from onejob.disk.layout import exported_bytes, find_layout
from onejob.disk.state import State, parse_state, read_state, trial, write_state
from onejob.disk.write import verify_slot, write_disk, write_slot
from onejob.model.errors import InputError
from onejob.model.image import Image, open_image
from onejob.model.plan import KernelArgument, Plan, Ready
from onejob.system.network import free_port
from running import Onejob, must

from .exported import patiently_fetch
from .small_image import with_kernel_of

pytestmark = [
    pytest.mark.root, pytest.mark.slow, pytest.mark.kernel, pytest.mark.qemu,
]  # fmt: skip
BUILD_LIMIT_S = 1700
TRIALS_LIMIT_S = 900
OVMF = Path("/usr/share/OVMF")
FOREVER = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


@pytest.fixture(scope="module")
def image(nginx_profile: Path, tmp_path_factory: pytest.TempPathFactory, onejob: Onejob) -> Image:
    """nginx for a PC with SATA disk, whose kernel starts with either firmware."""
    path = tmp_path_factory.mktemp("slots") / "nginx.onejob"
    words = ("build", nginx_profile, "--hardware", "qemu-q35-uefi", "-o", path)
    must(onejob(*words, timeout=BUILD_LIMIT_S))
    return open_image(path)


@pytest.fixture(scope="module")
def forever(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that does nothing, and never ends."""
    folder = tmp_path_factory.mktemp("forever")
    (folder / "forever.c").write_text(FOREVER)
    words = ["gcc", "-static", "-o", "forever", "forever.c"]
    subprocess.run(words, cwd=folder, check=True, timeout=120)
    return folder / "forever"


def variant(image: Image, place: Path, **changes: Any) -> Image:
    """`image` with another plan, and the same kernel."""
    plan = image.plan.model_copy(update=changes)
    made = build_image(
        plan, image.profile.read_text(), place, with_kernel=False, cache=place.parent / "cache",
        progress=Quiet(),
    )  # fmt: skip
    return with_kernel_of(made, image)


def started_with(plan: Plan, init: str) -> tuple[KernelArgument, ...]:
    return (*plan.kernel_arguments, KernelArgument(value=f"init={init}", reason="a test"))


def panicking(image: Image, place: Path) -> Image:
    """Its kernel finds no process 1."""
    return variant(image, place, kernel_arguments=started_with(image.plan, "/nowhere"))


def hanging(image: Image, place: Path, forever: Path) -> Image:
    """Its process 1 waits for nothing."""
    arguments = started_with(image.plan, str(forever))
    files = (*image.plan.files, host_file(forever))
    return variant(image, place, kernel_arguments=arguments, files=files)


def never_ready(image: Image, place: Path) -> Image:
    """Its service serves, but not on the port that was promised."""
    service = image.plan.service.model_copy(update={"ports": (8081,)})
    return variant(image, place, service=service, ready=Ready(within_ms=15_000, reason="a test"))


def tried(path: Path, old: Image, new: Image) -> Path:
    """A disk with `old`, and `new` on trial beside it."""
    new_raw(path, exported_bytes(old))
    with open_device(path, write=True) as device:
        write_disk(old, device)
        write_slot(device, "b", new)
        write_state(device, trial(read_state(device), "b"))
    return path


def with_uefi(folder: Path) -> tuple[str, ...]:
    """QEMU's words for firmware that has variables of its own below `folder`."""
    variables = shutil.copyfile(OVMF / "OVMF_VARS_4M.fd", folder / "vars.fd")
    code = f"if=pflash,format=raw,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}"
    return ("-drive", code, "-drive", f"if=pflash,format=raw,file={variables}")


@contextmanager
def booted(disk: Path, *, uefi: bool = False) -> Iterator[tuple[int, Path]]:
    """A machine that restarts by itself: the host's port of the service, its console."""
    port, console = free_port(), disk.with_suffix(".console")
    firmware = with_uefi(disk.parent) if uefi else ()
    words = [
        "qemu-system-x86_64", "-machine", "q35", "-m", "256", "-nodefaults", "-display", "none",
        "-serial", "stdio", *firmware, "-drive", f"format=raw,file={disk}",
        "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:80",
        "-device", "virtio-net-pci,netdev=net",
    ]  # fmt: skip
    with console.open("wb") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield port, console
    finally:
        end_group(process)


def state_of(disk: Path) -> State | None:
    """What the disk says while the machine runs; None in the moment in which it is written."""
    with open_device(disk) as device:
        at = find_layout(device)["state"].start + SECTOR
        try:
            return parse_state(device.read_at(at, SECTOR), "disk")
        except InputError:
            return None


def await_state(disk: Path, console: Path, wanted: Callable[[State], bool]) -> State:
    deadline = time.monotonic() + TRIALS_LIMIT_S
    while (state := state_of(disk)) is None or not wanted(state):
        assert time.monotonic() < deadline, console.read_text(errors="replace")[-4000:]
        time.sleep(0.5)
    return state


def left_after_three_starts(path: Path, old: Image, new: Image, *, uefi: bool = False) -> str:
    """Whether `new` is tried three times and then `old` serves, all by itself; the console."""
    disk = tried(path, old, new)
    with booted(disk, uefi=uefi) as (port, console):
        await_state(disk, console, lambda state: not state.tries)
        await_words(console, "onejob: slot a\n")
        assert patiently_fetch(port, console) == 200
        said = words_of(console)
    assert [said.count(f"slot b is on trial, {left} more") for left in (2, 1, 0)] == [1, 1, 1]
    assert said.count("onejob: slot b\n") == 3
    assert state_of(disk) == State("a", "b", 0)
    with open_device(disk) as device:
        verify_slot(device, "a")
    return said


@pytest.mark.parametrize("uefi", [False, True])
def test_a_slot_whose_kernel_panics_is_left(image: Image, tmp_path: Path, uefi: bool) -> None:
    new = panicking(image, tmp_path / "new.onejob")
    said = left_after_three_starts(tmp_path / "disk.raw", image, new, uefi=uefi)
    assert said.count("Kernel panic") == 3


def test_a_slot_whose_process_1_hangs_is_left(image: Image, forever: Path, tmp_path: Path) -> None:
    new = hanging(image, tmp_path / "new.onejob", forever)
    said = left_after_three_starts(tmp_path / "disk.raw", image, new)
    ended = re.findall(r"\[ *(\d+)\.\d+\] softdog: Initiating system reboot", said)
    # By the guest's own clock: one that is only slow has all of its time.
    assert len(ended) == 3
    assert all(int(second) >= TAKEN_WITHIN_S for second in ended)


def test_a_slot_whose_service_is_never_ready_is_left(image: Image, tmp_path: Path) -> None:
    new = never_ready(image, tmp_path / "new.onejob")
    said = left_after_three_starts(tmp_path / "disk.raw", image, new)
    assert said.count("slot b has not become ready within 15 s: the machine restarts") == 3


def test_a_slot_that_is_good_becomes_the_first(image: Image, tmp_path: Path) -> None:
    disk = tried(tmp_path / "disk.raw", image, image)
    with booted(disk) as (port, console):
        assert patiently_fetch(port, console) == 200
        assert await_state(disk, console, lambda state: not state.trying) == State("b")
    with booted(disk) as (port, console):
        assert patiently_fetch(port, console) == 200
        said = words_of(console)
        assert "onejob: slot b\n" in said
        assert "trial" not in said
    assert state_of(disk) == State("b")


def test_a_slot_that_cannot_be_read_gives_way_at_once(image: Image, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    new_raw(disk, exported_bytes(image))
    with open_device(disk, write=True) as device:
        write_disk(image, device)
        write_slot(device, "b", image)
        place = find_layout(device)["boot-a"]
        device.write_at(place.start, bytes(64 * SECTOR))
    with booted(disk) as (port, console):
        assert patiently_fetch(port, console) == 200
        assert "onejob: slot b\n" in words_of(console)


def words_of(console: Path) -> str:
    return console.read_text(errors="replace").replace("\r", "")


def await_words(console: Path, words: str) -> None:
    """Return when the console has `words`; fail with it where it never does."""
    deadline = time.monotonic() + TRIALS_LIMIT_S
    while words not in (text := words_of(console)):
        assert time.monotonic() < deadline, text[-4000:]
        time.sleep(0.5)
