"""The power button of a machine with ACPI: the service ends in its own way, and all is off."""

import json
import socket
import time
from pathlib import Path

import pytest

from onejob.drive.ready import wait_ready
from onejob.drive.target import Exit
from onejob.model.image import open_image
from onejob.system.qemu import qemu_instance
from onejob.system.rehearse import load_embedded_workload, patient
from running import must, run_onejob

pytestmark = [pytest.mark.root, pytest.mark.qemu, pytest.mark.kernel, pytest.mark.slow]
BUILD_LIMIT_S = 1700
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def image(nginx_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nginx for QEMU's q35, which has ACPI; microvm has no button."""
    made = tmp_path_factory.mktemp("q35") / "nginx.onejob"
    words = ("build", nginx_profile, "--hardware", "qemu-q35", "-o", made)
    must(run_onejob(*words, timeout=BUILD_LIMIT_S))
    return made


def press(monitor: Path) -> None:
    """By QEMU's machine protocol (QMP): greeting, capabilities, command."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LIMIT_S)
        connection.connect(str(monitor))
        lines = connection.makefile("rw", encoding="utf-8")
        assert "QMP" in json.loads(lines.readline())
        for command in ("qmp_capabilities", "system_powerdown"):
            lines.write(json.dumps({"execute": command}) + "\n")
            lines.flush()
            while "return" not in json.loads(lines.readline()):
                pass  # events


def test_the_power_button_stops_the_service_and_switches_off(image: Path, tmp_path: Path) -> None:
    opened, monitor = open_image(image), tmp_path / "qmp"
    with qemu_instance(opened, monitor=monitor, driven=False) as instance:
        wait_ready(instance, patient(load_embedded_workload(opened)), instance.since)
        press(monitor)
        assert instance.control.wait_event("exited", LIMIT_S)
        end = time.monotonic() + LIMIT_S
        while Path(f"/proc/{instance.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < end, instance.console.last_lines()
            time.sleep(0.1)
        assert instance.exited() == Exit(0, None)
        instance.console.drain(5.0)
        said = instance.console.text()
    assert "onejob: the power button was pressed\n" in said
    assert "Power down" in said
