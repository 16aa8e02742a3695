"""Which components the profile, the hardware and each other ask for, and what they bring."""

from collections.abc import Iterable, Mapping, Set
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import get_args

from onejob.model.component import AskedBy, Component
from onejob.model.errors import InputError
from onejob.model.hardware import Hardware
from onejob.model.plan import KernelArgument, KernelOption, Trust
from onejob.planner.evidence import Evidence

_TRUSTS = get_args(Trust)


def choose_components(
    components: Iterable[Component],
    evidence: Evidence,
    hardware: Hardware,
    filesystems: set[str],
    trust: Trust,
    natives: Set[str] = frozenset(),
    protections: Set[str] = frozenset(),
    sources: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, tuple[Component, str]]:
    """The asked-for components by name, each with what asked for it; repeated until none is new.

    Those that want more than `trust` are left out. `sources` are folders of the kernel source in
    which a device has its driver, each with the reason.
    """
    chosen: dict[str, tuple[Component, str]] = {}
    taken = _TRUSTS[: _TRUSTS.index(trust) + 1]
    waiting = {component.name: component for component in components if component.trust in taken}

    def who_asks(asked: AskedBy) -> str:
        for native in asked.natives:
            if native in natives:
                return f"the image carries {native}"
        for protection in asked.protections:
            if protection in protections:
                return f"the plan protects with {protection}"
        for source, reason in sources.items():
            if any(fnmatchcase(source, pattern) for pattern in asked.drivers):
                return reason
        return _who_asks(asked, evidence, hardware, filesystems, chosen)

    while True:
        asked = {
            name: reason
            for name, component in waiting.items()
            if (reason := who_asks(component.asked_by))
            and (component.requires == AskedBy() or who_asks(component.requires))
        }
        if not asked:
            return dict(sorted(chosen.items()))
        chosen |= {name: (waiting.pop(name), reason) for name, reason in asked.items()}


def _who_asks(
    asked: AskedBy,
    evidence: Evidence,
    hardware: Hardware,
    filesystems: set[str],
    chosen: Mapping[str, object],
) -> str:
    """The first reason that holds; empty for none."""
    if asked.always:
        return asked.why or "every system needs it"
    if hardware.how in asked.machine or hardware.architecture in asked.machine:
        return f"the hardware is {hardware.name}"
    if asked.processors_min and hardware.processors.count >= asked.processors_min:
        return f"the hardware has {hardware.processors.count} processors"
    if reason := _hardware_asks(asked, hardware):
        return reason
    for rule, why in evidence.rules.items():
        if rule in asked.rules:
            return f"the workload's rule {rule}: {why}"
    if asked.rotating_disks and (disk := _rotating_disk(hardware)):
        return f"the hardware's disk {disk} rotates"
    for scheduled in evidence.profile.scheduling:
        if scheduled.policy in asked.policies:
            return f"threads of {scheduled.program} are scheduled as {scheduled.policy}"
    families = evidence.socket_families()
    for family in asked.sockets:
        if family in families:
            return families[family]
    for call in asked.calls:
        if reason := evidence.call_reason(call):
            return f"{call} {reason}"
    for wanted in asked.values:
        if wanted.value in evidence.values((wanted.call,), wanted.position):
            return f"{wanted.call} was called with {wanted.value}"
    for how in asked.starts:
        if reason := evidence.start_reason(how):
            return reason
    for row in evidence.profile.reachable_calls:
        if row.call_name in asked.reachable:
            return f"{row.call_name} can be reached by {row.object}: {row.reason}"
    for filesystem in asked.filesystems:
        if filesystem in filesystems:
            return f"the system uses {filesystem}"
    for name in asked.components:
        if name in chosen:
            return f"component {name} needs it"
    return (
        _match("device", asked.modaliases, hardware.modaliases())
        or _match("path", asked.paths, evidence.paths())
        or _match("reading", asked.reads, evidence.paths_read())
    )


def _hardware_asks(asked: AskedBy, hardware: Hardware) -> str:
    """What started the machine, what it runs on, and its buses."""
    if hardware.firmware in asked.firmwares:
        return f"the hardware's firmware is {hardware.firmware}"
    if hardware.hypervisor in asked.hypervisors:
        return f"the hardware's hypervisor is {hardware.hypervisor}"
    for device in hardware.devices:
        if device.bus in asked.buses:
            return f"device {device.name} is on the {device.bus} bus"
    for disk in hardware.disks:
        if disk.bus in asked.disk_buses and not disk.removable:
            return f"the hardware's disk {disk.name} hangs on {disk.bus}"
    return ""


def _rotating_disk(hardware: Hardware) -> str:
    """The first real disk that rotates; of a guest's, only the host knows."""
    if hardware.hypervisor or hardware.how != "metal":
        return ""
    return next((disk.name for disk in hardware.disks if disk.rotational), "")


def _match(what: str, patterns: Iterable[str], texts: Iterable[str]) -> str:
    texts = tuple(texts)
    for pattern in patterns:
        for text in texts:
            if fnmatchcase(text, pattern):
                return f"{what} {text}"
    return ""


def kernel_options(
    chosen: Mapping[str, tuple[Component, str]], more: Iterable[KernelOption] = ()
) -> tuple[KernelOption, ...]:
    """All options of the chosen components and `more`, by name.

    An option that is wanted wins over one that another component leaves out; two different
    positive values contradict each other and are an InputError.
    """
    options = {option.name: option for option in more}
    for component, asked in chosen.values():
        for option in component.option:
            reason = f"{option.why} [{component.name}: {asked}]"
            new = KernelOption(name=option.name, value=option.value, reason=reason)
            options[option.name] = _stronger(options.get(option.name), new, component.name)
    return tuple(options[name] for name in sorted(options))


def _stronger(old: KernelOption | None, new: KernelOption, component: str) -> KernelOption:
    if old is None or old.value == "n":
        return new
    if new.value in ("n", old.value):
        return old
    raise InputError(
        f"components contradict each other on {new.name}: {old.value}, {new.value} in {component}"
    )


def kernel_arguments(chosen: Mapping[str, tuple[Component, str]]) -> tuple[KernelArgument, ...]:
    """The boot arguments of the chosen components, in the order of their names."""
    return tuple(
        KernelArgument(value=argument.value, reason=f"{argument.why} [{component.name}]")
        for component, _ in chosen.values()
        for argument in component.boot_argument
    )
