"""The ready hardware files are what a guest really has: it is asked again."""

from pathlib import Path

import pytest

from onejob.base.natives import data_path
from onejob.model.hardware import Hardware, load_hardware
from onejob.model.image import open_image
from onejob.system.clock import clock_words
from onejob.system.kvm import Accelerator
from onejob.system.qemu import qemu_instance
from running import Onejob, must

pytestmark = [pytest.mark.root, pytest.mark.qemu]


def kinds(hardware: Hardware) -> dict[str, object]:
    """What does not depend on the processor below QEMU or on the sizes given to the guest."""
    return {
        "how": hardware.how,
        "firmware": hardware.firmware,
        "disks": [(disk.name, disk.driver) for disk in hardware.disks],
        "interfaces": [(each.name, each.driver, each.mac) for each in hardware.interfaces],
        "devices": hardware.devices,
        "consoles": hardware.consoles,
    }


def test_microvm_is_as_its_hardware_file_says(
    nginx_image: Path, onejob: Onejob, tmp_path: Path
) -> None:
    """Same devices with the same modaliases and drivers, disks, interfaces and consoles."""
    found = tmp_path / "found.json"
    must(onejob("survey", "--inside", nginx_image, "--name", "qemu-microvm", "-o", found))
    ready = load_hardware(data_path("hardware") / "qemu-microvm.json")
    assert kinds(load_hardware(found)) == kinds(ready)


@pytest.mark.skipif(clock_words("tcg") == [], reason="this host's time stamps are not steady")
def test_an_emulated_guest_has_a_clock(nginx_image: Path) -> None:
    """On a busy host it had ticks of 10 ms for one, and made a call of each look at the time."""
    with qemu_instance(open_image(nginx_image), accelerator=Accelerator("tcg", "a test")) as guest:
        path = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        assert guest.control.read_file(path) in (b"tsc\n", b"tsc-early\n")
