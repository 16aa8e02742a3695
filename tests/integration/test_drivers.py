"""From modalias to option by the real kernel source, and that the kernel honours what comes out."""

import os
from pathlib import Path

import pytest

import small_world
from onejob.base.natives import cache_path, data_path
from onejob.base.progress import Quiet
from onejob.builder.catalogue import cached_catalogue, make_catalogue, make_drivers
from onejob.builder.kernel import configure_kernel, source_tree
from onejob.builder.kernel_cache import KernelCache
from onejob.builder.kernel_make import find_toolchain
from onejob.builder.kernel_source import KernelSource, find_source
from onejob.builder.module_package import Module
from onejob.model.catalogue import Catalogue
from onejob.model.component import Component, load_components
from onejob.model.errors import LacksError
from onejob.model.hardware import Device, Hardware
from onejob.planner.plan import make_plan

pytestmark = pytest.mark.kernel
SOURCES = Path("/usr/src")

# Common cards and adapters: module, where it is, one of its devices, its option.
COMMON = (
    ("drivers/net/ethernet/intel/ixgbe/ixgbe", "8086d00001563", "02sc00", "IXGBE"),
    ("drivers/net/ethernet/intel/igc/igc", "8086d000015F2", "02sc00", "IGC"),
    ("drivers/net/ethernet/intel/i40e/i40e", "8086d00001572", "02sc00", "I40E"),
    ("drivers/net/ethernet/realtek/r8169", "10ECd00008168", "02sc00", "R8169"),
    ("drivers/net/ethernet/amazon/ena/ena", "1D0Fd0000EC20", "02sc00", "ENA_ETHERNET"),
    ("drivers/net/vmxnet3/vmxnet3", "15ADd000007B0", "02sc00", "VMXNET3"),
    ("drivers/net/ethernet/mellanox/mlx5/core/mlx5_core", "15B3d00001017", "02sc00", "MLX5_CORE"),
    ("drivers/net/ethernet/broadcom/tg3", "14E4d0000165F", "02sc00", "TIGON3"),
    ("drivers/scsi/megaraid/megaraid_sas", "1000d0000005D", "01sc04", "MEGARAID_SAS"),
    ("drivers/scsi/vmw_pvscsi", "15ADd000007C0", "01sc00", "VMWARE_PVSCSI"),
    ("drivers/ata/ata_piix", "8086d00007010", "01sc01", "ATA_PIIX"),
)


def _alias(device: str, kind: str) -> str:
    return f"pci:v0000{device}sv00000000sd00000000bc{kind}i00"


@pytest.fixture(scope="module")
def source() -> KernelSource:
    kernels = KernelCache(cache_path() / "kernel")
    return source_tree(find_source(SOURCES), kernels, lambda what, part: None)


@pytest.fixture(scope="module")
def common(source: KernelSource) -> Catalogue:
    """A catalogue as the real one, of the common drivers alone: without the kernel package."""
    modules = tuple(
        Module(path, (_alias(device, kind),), ()) for path, device, kind, _ in sorted(COMMON)
    )
    drivers = make_drivers(modules, source, find_toolchain().compiler)
    return Catalogue(kernel=source.release, package="none", drivers=drivers)


def _server(devices: tuple[Device, ...]) -> Hardware:
    return small_world.hardware(name="a-server", how="metal", firmware="uefi", devices=devices)


def _library() -> tuple[Component, ...]:
    return load_components(data_path("components"))


def test_common_cards_and_adapters_come_out_on(common: Catalogue, tmp_path: Path) -> None:
    assert {d.option for d in common.drivers} == {option for *_, option in COMMON}
    devices = tuple(
        Device(bus="pci", name=option, modalias=_alias(device, kind))
        for _, device, kind, option in COMMON
    )
    plan = make_plan(small_world.profile(), _server(devices), _library(), catalogue=common)
    values = configure_kernel(plan.kernel_options, cache_path(), tmp_path / "log", _quiet).values
    assert {option for *_, option in COMMON} <= set(values)


def _quiet(what: str, fraction: float) -> None:
    """A progress that nobody watches."""


@pytest.mark.slow
def test_every_driver_that_the_library_takes_comes_out_on(tmp_path: Path) -> None:
    try:
        catalogue = make_catalogue(cache_path(), Quiet())
    except LacksError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(error.what)
    assert catalogue == cached_catalogue(cache_path())
    assert len(catalogue.drivers) > 2000 and sum(bool(d.conflict) for d in catalogue.drivers) < 30
    # One device of each driver, by a modalias that is its pattern with zeros for the wild parts.
    aliases = {d.aliases[0].replace("*", "0") for d in catalogue.drivers if not d.conflict}
    devices = tuple(Device(bus="pci", name=text, modalias=text) for text in sorted(aliases))
    plan = make_plan(small_world.profile(), _server(devices), _library(), catalogue=catalogue)
    assert len([o for o in plan.kernel_options if "modules.alias" in o.reason]) > 300
    configure_kernel(plan.kernel_options, cache_path(), tmp_path / "log", _quiet)
