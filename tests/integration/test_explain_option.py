"""A kernel option is explained from both sides: of a plan, and of the library with the source."""

import re
import subprocess
from pathlib import Path

import pytest

import small_world
from onejob.base.natives import cache_path, data_path
from onejob.builder.kconfig_facts import option_facts
from onejob.model.component import load_components
from onejob.model.hardware import load_hardware
from onejob.model.jsonfile import to_json
from onejob.planner.plan import make_plan
from running import Onejob, must


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    hardware = load_hardware(data_path("hardware") / "qemu-microvm.json")
    made = make_plan(small_world.profile(), hardware, load_components(data_path("components")))
    path = tmp_path / "plan.json"
    path.write_text(to_json(made))
    return path


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Standard output, with each run of blanks and frames as one blank: tables are folded."""
    must(done)
    return re.sub(r"[\s│]+", " ", done.stdout)


def test_a_plan_says_why_an_option_is_on(onejob: Onejob, plan: Path) -> None:
    said = _said(onejob("explain", plan, "CONFIG_VIRTIO_BLK"))
    assert "CONFIG_VIRTIO_BLK=y: root and data disks [virtio-blk: the hardware is" in said


def test_a_plan_says_who_could_have_asked_for_an_option_that_is_off(
    onejob: Onejob, plan: Path
) -> None:
    said = _said(onejob("explain", plan, "CONFIG_AIO"))
    assert "CONFIG_AIO is not in the kernel: no component that was asked for names it" in said
    assert "calls io_setup" in said


@pytest.mark.kernel
def test_the_library_says_what_asks_for_an_option_and_what_it_needs(onejob: Onejob) -> None:
    said = _said(onejob("explain", "CONFIG_E1000E", timeout=300))
    assert "drivers/net/ethernet/intel/Kconfig:" in said
    assert "NET_VENDOR_INTEL (for E1000E)" in said
    assert "pci:v00008086d000010D3sv*" in said


@pytest.mark.kernel
def test_the_kernels_own_facts_of_an_option() -> None:
    facts = option_facts("USB_XHCI_PCI", cache_path())
    assert (
        facts.prompt == "" and facts.depends_on == "USB_PCI && USB_XHCI_HCD && USB && USB_SUPPORT"
    )
    assert {"PCI", "USB", "USB_XHCI_HCD"} <= {need.name for need in facts.needs or ()}


@pytest.mark.kernel
def test_an_option_that_nobody_knows_is_refused(onejob: Onejob) -> None:
    done = onejob("explain", "CONFIG_NO_SUCH_THING", timeout=300)
    assert done.returncode == 4
    assert "has no option NO_SUCH_THING, nor has any component" in done.stderr
