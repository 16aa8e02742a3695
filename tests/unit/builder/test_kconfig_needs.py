"""From a kernel option to what it needs, by the conditions of Kconfig."""

import kconfiglib
import pytest

from onejob.builder.kconfig_needs import NeedsSolver

KCONFIG = """\
config MODULES
	bool "modules"
config 64BIT
	bool "64 bit"
config EXPERT
	bool "expert"
config HAS_IOMEM
	bool
	default y
config PCI
	bool "PCI"
	depends on HAS_IOMEM
menuconfig NETDEVICES
	bool "network drivers"
if NETDEVICES
config VENDOR
	bool "cards of a vendor"
	depends on PCI || VLB
config CARD
	bool "a card"
	depends on VENDOR && !SLOB
config SWITCHED
	bool "a card that is chosen by another word"
	depends on SCSI!=n
endif
config VLB
	bool "an old bus"
	depends on PCI && OLD
config OLD
	bool "old things"
config SCSI
	bool "SCSI"
config SLOB
	bool "an allocator"
config HELPER
	bool
config USER
	bool "selects"
	depends on PCI
	select HELPER
config NEEDS_HELPER
	bool "needs what only others select"
	depends on HELPER
config LOADED
	bool "a module, or nothing"
	depends on MODULES
"""


@pytest.fixture(scope="module")
def solver(tmp_path_factory: pytest.TempPathFactory) -> NeedsSolver:
    path = tmp_path_factory.mktemp("kconfig") / "Kconfig"
    path.write_text(KCONFIG)
    return NeedsSolver(kconfiglib.Kconfig(str(path), warn=False))


def _needs(solver: NeedsSolver, option: str) -> dict[str, str] | None:
    found = solver.needs(option)
    return None if found is None else {need.name: need.by for need in found}


def test_menus_and_buses_are_found_by_the_shorter_way(solver: NeedsSolver) -> None:
    assert _needs(solver, "CARD") == {"NETDEVICES": "VENDOR", "PCI": "VENDOR", "VENDOR": "CARD"}


def test_other_words_for_on(solver: NeedsSolver) -> None:
    assert _needs(solver, "SWITCHED") == {"NETDEVICES": "SWITCHED", "SCSI": "SWITCHED"}


def test_what_has_no_switch_is_turned_on_by_who_selects_it(solver: NeedsSolver) -> None:
    assert _needs(solver, "NEEDS_HELPER") == {"PCI": "USER", "USER": "HELPER"}


def test_what_is_on_anyway_is_not_asked_for(solver: NeedsSolver) -> None:
    assert _needs(solver, "PCI") == {}


@pytest.mark.parametrize("option", ["LOADED", "NO_SUCH_OPTION"])
def test_no_way(solver: NeedsSolver, option: str) -> None:
    assert _needs(solver, option) is None
