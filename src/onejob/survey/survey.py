"""Machine -> Hardware: what a machine has, from its own /proc and /sys."""

from typing import Literal

from onejob.model.errors import LacksError
from onejob.model.hardware import Hardware
from onejob.survey.devices import (
    odd_devices,
    survey_consoles,
    survey_devices,
    survey_disks,
    survey_interfaces,
)
from onejob.survey.firmware import survey_firmware, survey_hypervisor, survey_secure_boot
from onejob.survey.processors import (
    mapped_memory,
    odd_processors,
    survey_huge_pages,
    survey_memory,
    survey_nodes,
    survey_processors,
)
from onejob.survey.source import Source


def survey_machine(
    source: Source,
    name: str,
    architecture: str,
    how: Literal["metal", "qemu-microvm", "qemu-q35"] = "metal",
) -> Hardware:
    """What the machine behind `source` has. LacksError where /proc or /sys is not there."""
    processors = survey_processors(source)
    memory_kib = survey_memory(source)
    if processors is None or not memory_kib or not source.list("/sys/bus"):
        raise LacksError("/proc and /sys are not readable", "mount them, or survey from outside")
    found = Hardware(
        name=name,
        architecture=architecture,
        how=how,
        firmware=survey_firmware(source),
        secure_boot=survey_secure_boot(source),
        hypervisor=survey_hypervisor(source, processors),
        processors=processors,
        memory_kib=memory_kib,
        nodes=survey_nodes(source),
        huge_pages=survey_huge_pages(source),
        disks=survey_disks(source),
        interfaces=survey_interfaces(source),
        devices=survey_devices(source),
        consoles=survey_consoles(source),
    )
    return found.model_copy(update={"unclear": tuple(_unclear(source, found))})


def _unclear(source: Source, found: Hardware) -> list[str]:
    """A sentence for each thing that is not known for certain."""
    sentences = [f"{path}: no right to read it" for path in source.refused()]
    if not mapped_memory(source) >> 20:
        sentences.append(
            "the map of memory (/proc/iomem) shows no addresses, which takes root: memory is what "
            "the kernel has left of it"
        )
    if not found.processors.sockets:
        sentences.append("the kernel does not tell how processors share sockets and cores")
    if found.hypervisor == "unknown":
        sentences.append("a hypervisor runs this machine and does not say which one it is")
    if found.secure_boot == "unknown":
        sentences.append("UEFI's variables are not readable: nobody knows about Secure Boot")
    sentences += odd_processors(source)
    return sentences + odd_devices(found.disks, found.interfaces, found.devices)
