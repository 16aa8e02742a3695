"""The Catalogue: which driver a kernel has for a modalias, and the options that build it. JSON."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal

from onejob.model.noun import Noun

_WILD = "*?["


class Need(Noun):
    """``CONFIG_<name>=y``, without which `by` cannot be on (Kconfig)."""

    name: str
    by: str


class Driver(Noun):
    """A module of the distribution's kernel: what it drives, and the option that builds it in.

    `source` is the module's folder in the kernel source, `makefile` the file that names `option`.
    `aliases` are patterns of modaliases (modules.alias, depmod(8)); `firmware` are the files that
    it may load. `needs` lack what every system of ours has; `conflict` says why it cannot be on.
    """

    module: str
    option: str
    source: str
    makefile: str
    aliases: tuple[str, ...]
    needs: tuple[Need, ...] = ()
    firmware: tuple[str, ...] = ()
    conflict: str = ""

    @property
    def reason(self) -> str:
        """Which facts of the kernel lead from the device to the option."""
        return (
            f"module {self.module} (modules.alias), obj-$(CONFIG_{self.option}) in {self.makefile}"
        )


@dataclass(frozen=True)
class Match:
    """A driver for a device, and how many characters its pattern shares with the modalias."""

    driver: Driver
    literals: int


class Catalogue(Noun):
    """All drivers of one kernel; `package` is where the aliases come from."""

    format: Literal[1] = 1
    kernel: str
    package: str
    drivers: tuple[Driver, ...]

    def matches(self, modalias: str) -> tuple[Match, ...]:
        """The drivers that the kernel would load for a device, the most specific first."""
        found: dict[str, Match] = {}
        for pattern, driver in self._by_bus.get(modalias.partition(":")[0], ()):
            if modalias.startswith(_literal_start(pattern)) and fnmatchcase(modalias, pattern):
                known, new = found.get(driver.module), Match(driver, _literals(pattern))
                found[driver.module] = max(known or new, new, key=lambda each: each.literals)
        return tuple(sorted(found.values(), key=lambda each: (-each.literals, each.driver.module)))

    @cached_property
    def _by_bus(self) -> dict[str, list[tuple[str, Driver]]]:
        """The patterns of each bus: nine in ten are of another one than a device's."""
        rows: dict[str, list[tuple[str, Driver]]] = {}
        for driver in self.drivers:
            for pattern in driver.aliases:
                rows.setdefault(pattern.partition(":")[0].rstrip("*"), []).append((pattern, driver))
        return rows


def _literal_start(pattern: str) -> str:
    """What any text that `pattern` matches begins with."""
    end = next((at for at, char in enumerate(pattern) if char in _WILD), len(pattern))
    return pattern[:end]


def _literals(pattern: str) -> int:
    """How specific a pattern is: a class of devices says less than one device."""
    return sum(char not in "*?" for char in pattern)
