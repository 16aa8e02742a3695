"""What the component library, the catalogue of drivers and Kconfig know of one kernel option."""

from collections.abc import Iterable, Sequence

from onejob.model.catalogue import Catalogue
from onejob.model.component import AskedBy, Component
from onejob.report.overview import Table

_MOST_ALIASES = 12


def components_table(option: str, components: Iterable[Component]) -> Table:
    """The components that set the option, why, and what asks for each of them."""
    rows = tuple(
        (component.name, each.value, each.why, _asks(component))
        for component in components
        for each in component.option
        if each.name == option
    )
    return Table("components that set it", ("component", "value", "why", "asked for by"), rows)


def drivers_table(option: str, catalogue: Catalogue) -> Table:
    """The modules that the option builds, and the devices that these drive."""
    rows = tuple(
        (driver.module, driver.makefile, _first(driver.aliases))
        for driver in catalogue.drivers
        if driver.option == option
    )
    return Table("modules that it builds", ("module", "said in", "for devices"), rows)


def _asks(component: Component) -> str:
    also = words_of(component.requires)
    return words_of(component.asked_by) + (f"; and besides by {also}" if also else "")


def words_of(asked: AskedBy) -> str:
    """What asks, as a person reads it."""
    said = asked.model_dump(exclude_defaults=True)
    if said.pop("always", False):
        return asked.why
    return "; ".join(f"{name.replace('_', ' ')} {_words(value)}" for name, value in said.items())


def _words(value: object) -> str:
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)


def _first(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_ALIASES
    return "\n".join((*texts[:_MOST_ALIASES], *((f"and {more} more",) if more > 0 else ())))
