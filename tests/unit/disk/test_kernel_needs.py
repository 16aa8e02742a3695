"""What disks and CDs ask of a kernel is what a plan for such hardware brings."""

from pathlib import Path

import pytest

from onejob.base.natives import data_path
from onejob.disk.kernel_needs import Need
from onejob.disk.write import NEEDS
from onejob.exporter import iso
from onejob.model.component import load_components
from onejob.model.hardware import load_hardware
from onejob.model.profile_xml import load_profile
from onejob.planner.plan import make_plan

PROFILE = Path(__file__).parent.parent.parent / "golden/keeper.profile.xml"


@pytest.mark.parametrize("needs", [NEEDS, iso.NEEDS])
def test_a_plan_for_a_pc_with_uefi_brings_what_is_needed(needs: tuple[Need, ...]) -> None:
    hardware = load_hardware(data_path("hardware") / "qemu-q35-uefi.json")
    plan = make_plan(load_profile(PROFILE), hardware, load_components(data_path("components")))
    wanted = {option.name for option in plan.kernel_options if option.value == "y"}
    assert [need.options for need in needs if not wanted & set(need.options)] == []
