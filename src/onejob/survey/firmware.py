"""Firmware and hypervisor: what started the machine and what it runs on."""

from typing import Literal

from onejob.model.hardware import Processors
from onejob.survey.source import Source

_EFI = "/sys/firmware/efi"
# Of the UEFI specification, section 3.3: EFI_GLOBAL_VARIABLE.
_SECURE_BOOT = f"{_EFI}/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_SETUP_MODE = f"{_EFI}/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# What the kernel's UEFI stub has found, for machines that do not mount the variables (struct
# boot_params of arch/x86/include/uapi/asm/bootparam.h, efi_secureboot_mode of linux/efi.h).
_BOOT_PARAMS, _AT = "/sys/kernel/boot_params/data", 0x1EC
_MODES: dict[int, Literal["on", "off"]] = {2: "off", 3: "on"}
_CLOCKS = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
# A guest's kernel has a clock of its hypervisor's, also where no firmware table names that.
_CLOCK_OF = {
    "kvm-clock": "KVM",
    "xen": "Xen",
    "hyperv_clocksource_tsc_page": "Hyper-V",
    "hyperv_clocksource_msr": "Hyper-V",
}


def survey_firmware(source: Source) -> Literal["none", "bios", "uefi"]:
    """What the machine was started by."""
    if source.list(_EFI):
        return "uefi"
    # A machine without firmware tables (microvm) has nobody who would have left them.
    has_tables = bool(source.list("/sys/firmware/acpi") or source.list("/sys/class/dmi/id"))
    return "bios" if has_tables else "none"


def survey_secure_boot(source: Source) -> Literal["on", "off", "absent", "unknown"]:
    """Whether the firmware checks signatures. A variable is 4 bytes of attributes and its value."""
    if not source.list(_EFI):
        return "absent"
    state = source.read(_SECURE_BOOT)
    if len(state) != 5:
        found = source.read_bytes(_BOOT_PARAMS)
        return _MODES.get(found[_AT], "unknown") if len(found) > _AT else "unknown"
    # In set-up mode there is no platform key, and nothing is checked whatever the state says.
    return "on" if state[4] == "\1" and source.read(_SETUP_MODE)[4:] != "\1" else "off"


def survey_hypervisor(source: Source, processors: Processors) -> str:
    """The hypervisor's name; ``unknown`` where there is one that does not say, empty for none."""
    if kind := source.read("/sys/hypervisor/type").strip():
        return kind
    if "hypervisor" not in processors.features:
        return ""
    clocks = source.read(_CLOCKS).split()
    named = next((_CLOCK_OF[clock] for clock in clocks if clock in _CLOCK_OF), "")
    return named or source.read("/sys/class/dmi/id/sys_vendor").strip() or "unknown"
