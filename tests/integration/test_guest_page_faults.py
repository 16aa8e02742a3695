"""A guest tells the page faults of its processes: from ready on they make none."""

import time
import urllib.request
from pathlib import Path

import pytest

from onejob.drive.ready import wait_ready
from onejob.model.image import open_image
from onejob.model.observations import Observations
from onejob.system.qemu import QemuInstance, qemu_instance
from onejob.system.rehearse import load_embedded_workload, patient

pytestmark = [pytest.mark.root, pytest.mark.qemu]
REQUESTS = 200


def faults(guest: QemuInstance) -> dict[int, int]:
    """Of each process, all of which serve."""
    found: Observations = guest.observations()
    assert {each.phase for each in found.processes} == {"serve"}
    return {each.pid: each.page_faults for each in found.processes}


def serve(guest: QemuInstance) -> None:
    for _ in range(REQUESTS):
        with urllib.request.urlopen(f"http://{guest.address(80)}/", timeout=60) as answer:
            assert answer.status == 200


def test_nginx_in_a_guest_serves_without_a_page_fault(nginx_image: Path) -> None:
    image = open_image(nginx_image)
    assert image.plan.memory_manager.kind == "static"
    with qemu_instance(image) as guest:
        wait_ready(guest, patient(load_embedded_workload(image)), time.monotonic())
        first = faults(guest)
        serve(guest)
        served = faults(guest)
    assert len(first) >= 2 and all(count > 0 for count in first.values())
    assert served == first
