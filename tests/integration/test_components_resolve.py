"""Each component brings what its kernel options need, by the kernel's own Kconfig."""

from pathlib import Path
from typing import Any

import pytest

from onejob.base.natives import cache_path, data_path
from onejob.builder.kconfig import read_kconfig
from onejob.builder.kernel import configure_kernel, source_tree
from onejob.builder.kernel_cache import KernelCache
from onejob.builder.kernel_config import config_value, is_honoured
from onejob.builder.kernel_make import find_toolchain
from onejob.builder.kernel_source import find_source
from onejob.model.component import Component, load_components
from onejob.planner.components import kernel_options

pytestmark = pytest.mark.kernel
LIBRARY = {each.name: each for each in load_components(data_path("components"))}
WITH_OPTIONS = [each for each in LIBRARY.values() if each.option]
# Chosen whenever anything is: every system has them.
EVERYWHERE = [each for each in LIBRARY.values() if each.asked_by.always and each.option]

each_component = pytest.mark.parametrize("component", WITH_OPTIONS, ids=lambda each: each.name)


def _together(component: Component) -> list[Component]:
    """The component, and those that are there whenever it is."""
    others = {
        name for name in component.asked_by.components if len(component.asked_by.components) == 1
    }
    # Such a device hangs on a bus of its own, which the hardware shows too.
    on_virtio = any(pattern.startswith("virtio:") for pattern in component.asked_by.modaliases)
    others |= {"virtio-pci"} if on_virtio else set()
    return [*EVERYWHERE, *(LIBRARY[name] for name in sorted(others)), component]


@pytest.fixture(scope="module")
def kconfig() -> Any:
    """The kernel's Kconfig with what every system has, and all else off."""
    kernels = KernelCache(cache_path() / "kernel")
    source = source_tree(find_source(Path("/usr/src")), kernels, lambda what, part: None)
    read = read_kconfig(source, find_toolchain().compiler)
    for symbol in read.unique_defined_syms:
        symbol.set_value(2 if symbol.is_allnoconfig_y else 0)
    return read


@each_component
def test_the_kconfig_honours_it(component: Component, kconfig: Any) -> None:
    options = kernel_options({each.name: (each, "a test") for each in _together(component)})
    before = {option.name: kconfig.syms[option.name].user_value for option in options}
    for option in options:
        kconfig.syms[option.name].set_value(option.value)
    values = {name: config_value(kconfig.syms[name].str_value) for name in before}
    for name, value in before.items():
        _restore(kconfig.syms[name], value)
    assert [option for option in options if not is_honoured(option, values)] == []


def _restore(symbol: Any, value: Any) -> None:
    if symbol.choice is not None:
        symbol.choice.unset_value()
    symbol.unset_value() if value is None else symbol.set_value(value)


@pytest.mark.slow
@each_component
def test_the_kernel_honours_it(component: Component, tmp_path: Path) -> None:
    options = kernel_options({each.name: (each, "a test") for each in _together(component)})
    configure_kernel(options, cache_path(), tmp_path / "log", lambda what, part: None)
