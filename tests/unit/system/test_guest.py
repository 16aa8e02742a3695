"""QEMU's command line and the kernel's."""

import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from built_plans import MOUNTS, make_plan
from onejob.model.image import Image, Manifest, Verity
from onejob.model.plan import KernelArgument, Plan
from onejob.system.guest import device_words, kernel_line, machine_words, network_words
from onejob.system.network import Publish

from .test_bundle import INIT

VERITY = Verity(data_blocks=921, hash_start=921, root_hash="ab" * 32, salt="00" * 32)


def image_of(plan: Plan) -> Image:
    manifest = Manifest(
        name=plan.name, onejob="0", contents=(), verity=VERITY, kernel=None, packages=()
    )
    return Image(folder=Path("/image"), manifest=manifest, plan=plan)


def test_the_kernel_finds_its_root_by_verity() -> None:
    words = shlex.split(kernel_line(image_of(make_plan(files=(INIT,))), control=True))
    table = "verity 1 /dev/vda /dev/vda 4096 4096 921 921 sha256 " + "ab" * 32 + " " + "00" * 32
    assert f"dm-mod.create=vroot,,,ro,0 7368 {table}" in words
    for word in ("root=/dev/dm-0", "ro", "rootfstype=squashfs", "init=/.onejob/init",
                 "ONEJOB_DATA=/dev/vdb", "ONEJOB_CONTROL=/dev/ttyS1"):  # fmt: skip
        assert word in words


def test_a_plan_without_data_and_control_says_neither() -> None:
    line = kernel_line(image_of(make_plan(files=(INIT,), mounts=MOUNTS[:1])), control=False)
    assert "ONEJOB_" not in line


def test_the_plans_words_come_first_and_once() -> None:
    arguments = (KernelArgument(value="console=ttyS1", reason="x"),)
    line = kernel_line(image_of(make_plan(files=(INIT,), kernel_arguments=arguments)), control=True)
    assert line.startswith("console=ttyS1 ")
    assert line.count("console=") == 1


def test_an_emulated_processor_has_no_slow_instructions() -> None:
    emulated, real = (
        dict(pairwise(machine_words("qemu-microvm", accelerator))) for accelerator in ("tcg", "kvm")
    )
    assert (emulated["-cpu"], real["-cpu"]) == ("max,erms=off,fsrm=off", "max")


@pytest.mark.parametrize("closed", [True, False])
def test_a_closed_guest_has_no_way_out_and_knows_it(closed: bool) -> None:
    """Questions to a name server that nobody answers took exim4 longer than its client waits."""
    line = kernel_line(image_of(make_plan(files=(INIT,))), control=True, closed=closed)
    assert ("::10.0.2.2:" in line, "ip=10.0.2.15:::255" in line) == (not closed, closed)


@pytest.mark.parametrize(
    ("how", "devices"),
    [
        ("qemu-microvm", ["isa-serial", "virtio-blk-device", "virtio-blk-device"]),
        ("qemu-q35", ["virtio-serial-pci", "virtserialport", "virtio-blk-pci", "virtio-blk-pci"]),
    ],
)
def test_the_control_channel_is_the_first_device(how: str, devices: list[str]) -> None:
    words = device_words(how, Path("/a,b/root.img"), Path("/data.img"), 7)
    found = [w.partition(",")[0] for before, w in pairwise(words) if before == "-device"]
    assert found == devices
    drives = [w for before, w in pairwise(words) if before == "-drive"]
    assert drives[0].endswith("readonly=on,file=/a,,b/root.img")
    assert "readonly" not in drives[1]


def test_forwards_and_a_closed_network() -> None:
    forwards = [Publish("127.0.0.1", 8080, 80)]
    words = network_words("qemu-q35", forwards, closed=True)
    assert words[1] == "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80"
    assert words[3] == "virtio-net-pci,netdev=net"
    assert "restrict" not in network_words("qemu-q35", forwards, closed=False)[1]
