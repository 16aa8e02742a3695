"""The real kernel source: our components configure to what they ask for, and build."""

from pathlib import Path

import pytest

from onejob.base.natives import cache_path, data_path
from onejob.builder.kernel import build_kernel, configure_kernel
from onejob.model.component import Component, load_components
from onejob.model.errors import BuildError
from onejob.model.hardware import load_hardware
from onejob.model.image import open_image
from onejob.model.plan import KernelOption
from onejob.planner.components import kernel_options
from onejob.planner.plan import make_plan
from small_world import profile

pytestmark = pytest.mark.kernel


def quiet(what: str, fraction: float) -> None:
    """A progress that nobody watches."""


def library() -> tuple[Component, ...]:
    return load_components(data_path("components"))


def configured(options: tuple[KernelOption, ...], log: Path) -> dict[str, str]:
    """The values that `options` lead to; configure_kernel checks that each is honoured."""
    return configure_kernel(options, cache_path(), log, quiet).values


@pytest.mark.parametrize("machine", ["qemu-microvm", "qemu-q35"])
def test_a_plan_configures_as_asked(machine: str, tmp_path: Path) -> None:
    hardware = load_hardware(data_path("hardware") / f"{machine}.json")
    plan = make_plan(profile(), hardware, library())
    values = configured(plan.kernel_options, tmp_path / "log")
    assert values["VIRTIO_BLK"] == "y" and values["DM_INIT"] == "y" and "MODULES" not in values
    assert ("VIRTIO_MMIO" in values) == (machine == "qemu-microvm")
    assert ("PCI" in values, "ACPI" in values) == ((machine == "qemu-q35"),) * 2


def test_the_whole_library_at_once_configures_as_asked(tmp_path: Path) -> None:
    options = kernel_options({c.name: (c, "a test") for c in library()})
    assert len(configured(options, tmp_path / "log")) > len(options)


def test_an_unmet_dependency_is_named(tmp_path: Path) -> None:
    asked = KernelOption(name="SECURITY_LANDLOCK", value="y", reason="landlock in the profile")
    with pytest.raises(BuildError) as error:
        configure_kernel([asked], cache_path(), tmp_path / "log", quiet)
    assert error.value.what == (
        "kernel option SECURITY_LANDLOCK=y (landlock in the profile):"
        " unmet dependency: SECURITY(=n)"
    )


@pytest.mark.root
def test_the_images_kernel_is_the_plans_and_comes_from_the_cache(
    nginx_image: Path, tmp_path: Path
) -> None:
    image = open_image(nginx_image)
    built = build_kernel(image.plan.kernel_options, cache_path(), tmp_path / "log", quiet)
    assert built.cached
    assert built.image.read_bytes() == (nginx_image / "kernel").read_bytes()
    assert built.calls > 350  # Linux 6.1 has 351, later ones more
