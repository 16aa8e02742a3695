"""The component library as data: general, asked for by something that exists, no contradiction."""

import pytest

from onejob.base.natives import data_path
from onejob.model.component import Component, load_components
from onejob.model.syscalls import known_calls
from onejob.planner.components import kernel_options
from onejob.planner.evidence import SOCKET_FAMILIES

LIBRARY = load_components(data_path("components"))
MACHINES = {"x86_64", "metal", "qemu-microvm", "qemu-q35"}

components = pytest.mark.parametrize("component", LIBRARY, ids=lambda component: component.name)


@components
def test_something_can_ask_for_it(component: Component) -> None:
    asked = component.asked_by.model_dump(exclude_defaults=True)
    assert set(asked) - {"why"}
    assert not asked.get("always") or asked["why"]


@components
def test_what_asks_for_it_exists(component: Component) -> None:
    asked = component.asked_by
    assert set(asked.machine) <= MACHINES
    assert set(asked.sockets) <= set(SOCKET_FAMILIES.values())
    assert set(asked.components) <= {other.name for other in LIBRARY}
    assert set(asked.calls) <= set(known_calls())


@components
def test_each_option_stands_once(component: Component) -> None:
    names = [option.name for option in component.option]
    assert len(names) == len(set(names))
    assert not any(name.startswith("CONFIG_") for name in names)


def test_all_components_together_do_not_contradict_each_other() -> None:
    options = kernel_options({component.name: (component, "a test") for component in LIBRARY})
    assert len(options) == len({option.name for option in options})


def test_no_component_is_made_for_one_service() -> None:
    for component in LIBRARY:
        text = component.model_dump_json().lower()
        assert not any(service in text for service in ("nginx", "redis", "postgres"))
