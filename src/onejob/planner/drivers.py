"""Drivers for devices that no component knows: from modalias to kernel option, by the catalogue.

The library decides which kinds of devices a system drives at all (`AskedBy.drivers`), and overrides
the catalogue where a component's own modaliases match.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from onejob.model.catalogue import Catalogue, Driver, Match
from onejob.model.component import Component
from onejob.model.errors import InputError
from onejob.model.hardware import Device, Hardware
from onejob.model.plan import KernelOption

Chosen = Mapping[str, tuple[Component, str]]

# Devices that a service's system cannot do without, by the classes that buses give them (PCI Code
# and ID Assignment, USB Defined Class Codes, virtio 1.2 section 5, linux/hyperv.h).
_NETWORK = (
    "pci:*bc02*", "usb:*ic02isc06*", "usb:*ic02isc0[9CDE]*", "virtio:d00000001v*", "xen:vif",
    "vmbus:635161f83edfc546913ff2d2f965ed0e",
)  # fmt: skip
_STORAGE = (
    "pci:*bc01*", "pci:*bc08sc05*", "usb:*ic08*", "virtio:d0000000[28]v*", "xen:vbd", "xen:vscsi",
    "vmbus:d96361baa104294db60572e2ffb1dc7f",
)  # fmt: skip
# PCI's host and ISA bridges: the kernel needs no driver for them.
_NO_DRIVER = ("pci:*bc06sc0[01]*",)
# On other buses, most devices have no function of their own.
_BUSES_WITH_DRIVERS = ("pci", "virtio", "xen", "vmbus", "usb")


@dataclass(frozen=True)
class FoundDriver:
    """A driver of the catalogue for one device of the hardware."""

    modalias: str
    driver: Driver


@dataclass(frozen=True)
class Search:
    """What the catalogue says of the devices that no component knows.

    `found` are of a kind that some component takes; `others` have drivers that none takes;
    `unknown` have none at all. `asked` is whether there was a catalogue to ask.
    """

    asked: bool = False
    found: tuple[FoundDriver, ...] = ()
    others: tuple[FoundDriver, ...] = ()
    unknown: tuple[str, ...] = ()

    def sources(self) -> dict[str, str]:
        """The source folders of what was found, each with the device that leads there."""
        return {
            each.driver.source: f"device {each.modalias} has its driver in {each.driver.source}"
            for each in reversed(self.found)
        }


NO_SEARCH = Search()


def needs_catalogue(hardware: Hardware, components: Sequence[Component]) -> bool:
    """Whether the library alone leaves open how a device is driven that matters.

    Of a guest's devices those for storage and network do, of a real machine's all.
    """
    kinds = ("*",) if hardware.how == "metal" else (*_NETWORK, *_STORAGE)
    return any(_matches(text, kinds) for text in _unclaimed(hardware, components))


def search_drivers(
    hardware: Hardware, components: Sequence[Component], catalogue: Catalogue | None
) -> Search:
    """Ask the catalogue for every device that no component's modaliases match."""
    if catalogue is None or not needs_catalogue(hardware, components):
        return NO_SEARCH
    folders = [pattern for component in components for pattern in component.asked_by.drivers]
    found: list[FoundDriver] = []
    others: list[FoundDriver] = []
    unknown: list[str] = []
    for modalias in _unclaimed(hardware, components):
        matches = catalogue.matches(modalias)
        best = _best([m for m in matches if _is_taken(m.driver, folders)])
        found += [FoundDriver(modalias, driver) for driver in best]
        if not best and matches:
            others.append(FoundDriver(modalias, matches[0].driver))
        elif not best:
            unknown.append(modalias)
    return Search(True, tuple(found), tuple(others), tuple(unknown))


def _unclaimed(hardware: Hardware, components: Iterable[Component]) -> list[str]:
    patterns = tuple(p for component in components for p in component.asked_by.modaliases)
    return [text for text in hardware.modaliases() if not _matches(text, patterns)]


def _is_taken(driver: Driver, folders: Iterable[str]) -> bool:
    return not driver.conflict and _matches(driver.source, folders)


def _best(matches: Sequence[Match]) -> list[Driver]:
    """The most specific: who names the device knows it better than who names its class."""
    most = max((match.literals for match in matches), default=0)
    return [match.driver for match in matches if match.literals == most]


def _matches(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def driver_options(search: Search, chosen: Chosen) -> tuple[KernelOption, ...]:
    """The options of the drivers that the chosen components take, and what each depends on."""
    options: dict[str, KernelOption] = {}
    for found, component in _taken(search, chosen):
        driver = found.driver
        reason = f"device {found.modalias}: {driver.reason} [{component}]"
        for name, why in (
            (driver.option, reason),
            *((need.name, f"{need.by} depends on it; {reason}") for need in driver.needs),
        ):
            options.setdefault(name, KernelOption(name=name, value="y", reason=why))
    return tuple(options.values())


def _taken(search: Search, chosen: Chosen) -> list[tuple[FoundDriver, str]]:
    """The drivers that become part of the kernel, each with the component that takes it."""
    taken = []
    for found in search.found:
        for name, (component, _) in chosen.items():
            if _matches(found.driver.source, component.asked_by.drivers):
                taken.append((found, name))
                break
    return taken


def driver_warnings(hardware: Hardware, search: Search, chosen: Chosen) -> tuple[str, ...]:
    """What of the hardware the image will not drive, and what a driver lacks.

    InputError where that is the boot disk or every network card.
    """
    if not search.asked:
        return ()
    taken = [found for found, _ in _taken(search, chosen)]
    _check_drivers(hardware, {found.modalias for found in taken}, chosen)
    wanted = {found.modalias for found in taken}
    left = [each for each in (*search.found, *search.others) if each.modalias not in wanted]
    warnings = [
        f"no driver for device {text}: no component knows it, nor any module of the kernel"
        for text in search.unknown
        if text.partition(":")[0] in _BUSES_WITH_DRIVERS and not _matches(text, _NO_DRIVER)
    ]
    if left:
        named = sorted({f"{each.modalias} ({each.driver.module})" for each in left})
        warnings.append(
            f"left without their drivers, as no component takes such devices: {', '.join(named)}"
        )
    return (*warnings, *_firmware_warnings(taken))


def _firmware_warnings(taken: Iterable[FoundDriver]) -> list[str]:
    drivers = {found.driver.module: found.driver for found in taken if found.driver.firmware}
    return [
        f"driver {name} may ask for firmware that the image does not have:"
        f" {', '.join(driver.firmware[:3])}{', ...' if len(driver.firmware) > 3 else ''}"
        for name, driver in sorted(drivers.items())
    ]


def _check_drivers(hardware: Hardware, taken: set[str], chosen: Chosen) -> None:
    """InputError where the system could not reach its disk, or nobody could reach it."""
    patterns = tuple(p for component, _ in chosen.values() for p in component.asked_by.modaliases)

    def undriven(kinds: Iterable[str]) -> list[Device]:
        devices = [each for each in hardware.devices if _matches(each.modalias, kinds)]
        is_driven = any(d.modalias in taken or _matches(d.modalias, patterns) for d in devices)
        return [] if is_driven else devices

    for what, kinds in (("the boot disk", _STORAGE), ("every network card", _NETWORK)):
        if devices := undriven(kinds):
            named = ", ".join(f"{device.name} ({device.modalias})" for device in devices)
            raise InputError(
                f"hardware {hardware.name}: missing driver for {what}: {named}",
                "neither components nor the kernel's modules have one for a built-in kernel; use"
                " another device, or add a component with its modalias",
            )
