"""What a kernel option needs to be on: the options on the way through ``depends on`` and menus.

``make allnoconfig`` leaves an option off, and silently, when something it depends on is off. Here
the conditions of Kconfig are solved the other way round: from the option that is wanted to the
options that have to be asked for with it. Of alternatives (``A || B``) the one with the fewest
options is taken, the first of equals.
"""

from collections.abc import Mapping
from typing import Any

import kconfiglib

from onejob.model.catalogue import Need

# What every system of ours has, and what none has. COMPILE_TEST, BROKEN and STAGING are no ways to
# a driver that anybody should rely on.
_GIVEN = {"64BIT": 2, "EXPERT": 2}
_NEVER = frozenset({"MODULES", "COMPILE_TEST", "BROKEN", "UML", "STAGING"})

# The options to ask for, each with the option that needs it; None where there is no way.
Needs = dict[str, str]


class NeedsSolver:
    """Solves the conditions of one Kconfig, beginning from an empty configuration."""

    def __init__(self, kconfig: Any) -> None:
        self._symbols: Mapping[str, Any] = kconfig.syms
        for symbol in kconfig.unique_defined_syms:
            symbol.set_value(2 if symbol.is_allnoconfig_y else 0)
        for name, value in _GIVEN.items():
            kconfig.syms[name].set_value(value)
        self._known: dict[str, Needs | None] = {}
        self._asked: set[str] = set()  # on the way here: a circle is no way

    def needs(self, option: str) -> tuple[Need, ...] | None:
        """What has to be asked for besides `option`, by name; None where it cannot be on."""
        symbol = self._symbols.get(option)
        found = None if symbol is None else self._symbol(symbol, option)
        if found is None:
            return None
        return tuple(Need(name=n, by=by) for n, by in sorted(found.items()) if n != option)

    def _symbol(self, symbol: Any, by: str) -> Needs | None:
        """What turns `symbol` on, and itself where it has a switch."""
        name = symbol.name
        if symbol.is_constant or not symbol.nodes:
            return {} if symbol.tri_value == 2 else None
        if symbol.tri_value == 2:
            return {}
        if name in _NEVER or name in self._asked or symbol.orig_type not in _SWITCHES:
            return None
        if name not in self._known:
            self._asked.add(name)
            self._known[name] = self._ways(symbol)
            self._asked.discard(name)
        found = self._known[name]
        return None if found is None else {**found, **({name: by} if _has_prompt(symbol) else {})}

    def _ways(self, symbol: Any) -> Needs | None:
        conditions = [node.prompt[1] for node in symbol.nodes if node.prompt]
        if conditions:
            return _cheapest([self._condition(each, symbol.name) for each in conditions])
        # Without a switch it is on by its default, or where another option selects it.
        ways = [
            self._condition((kconfiglib.AND, value, condition), symbol.name)
            for value, condition in symbol.defaults
        ]
        selecting = kconfiglib.split_expr(symbol.rev_dep, kconfiglib.OR)
        return _cheapest([*ways, *(self._condition(each, symbol.name) for each in selecting)])

    def _condition(self, condition: Any, by: str) -> Needs | None:
        """What makes a condition true."""
        if not isinstance(condition, tuple):
            is_choice = isinstance(condition, kconfiglib.Choice)
            return {} if is_choice else self._symbol(condition, by)
        kind, *terms = condition
        if kind is kconfiglib.AND:
            first, second = (self._condition(term, by) for term in terms)
            return None if first is None or second is None else {**second, **first}
        if kind is kconfiglib.OR:
            return _cheapest([self._condition(term, by) for term in terms])
        if kconfiglib.expr_value(condition):
            return {}
        return self._symbol(terms[0], by) if _wants_it_on(kind, terms) else None


def _wants_it_on(kind: Any, terms: list[Any]) -> bool:
    """``A != n`` and ``A = y`` are other words for ``A``."""
    value = terms[1].name if len(terms) == 2 and terms[1].is_constant else ""
    return (kind, value) in ((kconfiglib.UNEQUAL, "n"), (kconfiglib.EQUAL, "y"))


_SWITCHES = (kconfiglib.BOOL, kconfiglib.TRISTATE)


def _has_prompt(symbol: Any) -> bool:
    return any(node.prompt for node in symbol.nodes)


def _cheapest(ways: list[Needs | None]) -> Needs | None:
    possible = [way for way in ways if way is not None]
    return min(possible, key=len) if possible else None
