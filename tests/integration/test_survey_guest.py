"""The ready hardware files are what a guest really has: it is asked again."""

from pathlib import Path

import pytest

from onejob.base.natives import data_path
from onejob.model.hardware import Hardware, load_hardware
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
