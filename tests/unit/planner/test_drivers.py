"""Devices that no component knows: their driver, the reason, what is left out, what is refused."""

from typing import Any

import pytest

import small_world
from onejob.base.natives import data_path
from onejob.model.catalogue import Catalogue, Driver, Need
from onejob.model.component import load_components
from onejob.model.errors import InputError
from onejob.model.hardware import Device, Hardware, load_hardware
from onejob.model.plan import Plan
from onejob.planner.drivers import needs_catalogue
from onejob.planner.plan import make_plan

CARD = "pci:v00008086d00001563sv00001028sd00001FA8bc02sc00i00"
RAID = "pci:v00001000d0000005Dsv00001028sd00001F42bc01sc04i00"
SOUND = "pci:v00008086d0000A0C8sv00001028sd00000A5Cbc04sc03i00"
NAMELESS = "pci:v0000DEADd0000BEEFsv00000000sd00000000bc02sc00i00"
LIBRARY = (
    *small_world.components(),
    small_world.component(
        "cards",
        """
        asked_by = { drivers = ["drivers/net/*"] }
        [[option]]
        name = "NETDEVICES"
        why = "menu"
        """,
    ),
    small_world.component("adapters", 'asked_by = { drivers = ["drivers/scsi/*"] }'),
)


def _driver(module: str, source: str, alias: str, **more: Any) -> Driver:
    option = module.upper()
    makefile = f"{source}/Makefile"
    fields = {"module": module, "option": option, "source": source, "makefile": makefile}
    return Driver(**{**fields, "aliases": (alias,), **more})


CATALOGUE = Catalogue(
    kernel="6.12.1",
    package="linux-image-test 6.12.1-1",
    drivers=(
        _driver(
            "ixgbe", "drivers/net/ethernet/intel/ixgbe", "pci:v00008086d00001563sv*sd*bc*sc*i*",
            needs=(Need(name="NET_VENDOR_INTEL", by="IXGBE"),),
        ),
        _driver("any_card", "drivers/net/any", "pci:v*d*sv*sd*bc02sc00i*"),
        _driver(
            "megaraid_sas", "drivers/scsi/megaraid", "pci:v00001000d0000005Dsv*sd*bc*sc*i*",
            firmware=("raid.bin",),
        ),
        _driver("snd_hda_intel", "sound/pci/hda", "pci:v00008086d*sv*sd*bc04sc03i*"),
        _driver("old_raid", "drivers/scsi/old", "pci:v*d*sv*sd*bc01sc0[0-4]i*", conflict="no way"),
    ),
)  # fmt: skip


def _metal(*modaliases: str) -> Hardware:
    devices = tuple(
        Device(bus=text.partition(":")[0], name=f"device{n}", modalias=text)
        for n, text in enumerate(modaliases)
    )
    return small_world.hardware(name="a-server", how="metal", firmware="bios", devices=devices)


def _plan(hardware: Hardware, catalogue: Catalogue | None = CATALOGUE) -> Plan:
    return make_plan(small_world.profile(), hardware, LIBRARY, catalogue=catalogue)


def test_an_unknown_card_gets_its_most_specific_driver_and_what_that_needs() -> None:
    plan = _plan(_metal(CARD, RAID))
    options = {option.name: option.reason for option in plan.kernel_options}
    reason = (
        f"device {CARD}: module ixgbe (modules.alias), obj-$(CONFIG_IXGBE) in"
        " drivers/net/ethernet/intel/ixgbe/Makefile [cards]"
    )
    assert options["IXGBE"] == reason
    assert options["NET_VENDOR_INTEL"] == f"IXGBE depends on it; {reason}"
    assert "MEGARAID_SAS" in options and "ANY_CARD" not in options and "OLD_RAID" not in options
    assert (
        f"cards: device {CARD} has its driver in drivers/net/ethernet/intel/ixgbe"
        in plan.components
    )


def test_what_is_left_out_and_what_is_unknown_is_named() -> None:
    warnings = _plan(_metal(CARD, RAID, SOUND, NAMELESS.replace("bc02", "bc11"))).warnings
    assert [text for text in warnings if "firmware" in text] == [
        "driver megaraid_sas may ask for firmware that the image does not have: raid.bin"
    ]
    assert any(f"{SOUND} (snd_hda_intel)" in text for text in warnings)
    assert any("no driver for device pci:v0000DEAD" in text for text in warnings)


def test_without_a_driver_for_any_card_it_is_refused() -> None:
    catalogue = Catalogue(kernel="6.12.1", package="none", drivers=CATALOGUE.drivers[2:])
    with pytest.raises(InputError, match="missing driver for every network card: device1"):
        _plan(_metal(RAID, NAMELESS), catalogue)


def test_without_a_driver_for_the_disk_it_is_refused() -> None:
    with pytest.raises(InputError, match="missing driver for the boot disk: device1"):
        _plan(_metal(CARD, RAID.replace("5D", "5E").replace("1000", "DEAD")))


def test_a_component_overrides_the_catalogue() -> None:
    own = small_world.component("own", f'asked_by = {{ modaliases = ["{CARD[:22]}*"] }}')
    plan = make_plan(
        small_world.profile(), _metal(CARD, RAID), (*LIBRARY, own), catalogue=CATALOGUE
    )
    assert "IXGBE" not in {option.name for option in plan.kernel_options}


@pytest.mark.parametrize("machine", ["qemu-microvm", "qemu-q35"])
def test_the_ready_machines_need_no_catalogue(machine: str) -> None:
    library = load_components(data_path("components"))
    hardware = load_hardware(data_path("hardware") / f"{machine}.json")
    assert not needs_catalogue(hardware, library)
    plan = make_plan(small_world.profile(), hardware, library)
    assert plan == make_plan(small_world.profile(), hardware, library, catalogue=CATALOGUE)


def test_a_guest_with_a_card_that_no_component_knows_needs_one() -> None:
    hardware = _metal(CARD).model_copy(update={"how": "qemu-q35"})
    assert needs_catalogue(hardware, LIBRARY)
    assert not needs_catalogue(hardware.model_copy(update={"devices": ()}), LIBRARY)
