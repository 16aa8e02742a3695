"""The text screen of an installation: what answers and options leave open is asked here."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from onejob.disk.device import open_device
from onejob.installer.content import describe_content, find_system
from onejob.installer.screen import Screen
from onejob.installer.target import Target, describe_disk, find_target
from onejob.model.answers import Answers, DiskAnswer, NetworkAnswer
from onejob.model.errors import InputError
from onejob.model.hardware import Disk


def ask_trust(root: Path, screen: Screen) -> str:
    """Whether the `root` that lies beside a kit is the owner's; InputError where it is not."""
    digest = hashlib.sha256(root.read_bytes()).hexdigest()
    screen.say(f"The kit is signed by whoever has the keys of {root},")
    screen.say(f"SHA-256 {digest}.")
    if not screen.confirm("Is that its owner's?"):
        raise InputError("the kit is not trusted, so nothing was taken from it")
    return str(root)


def ask_service(services: list[str], screen: Screen) -> str:
    """One of those that the repository has."""
    if not services:
        raise InputError("the repository has no image", "push one: onejob push IMAGE")
    if len(services) == 1:
        screen.say(f"Service: {services[0]}")
        return services[0]
    return services[screen.choose("Which service?", services, 0)]


def ask_rest(
    answers: Answers, services: Callable[[], list[str]], disks: tuple[Disk, ...], screen: Screen
) -> Answers:
    """`answers` with everything that was open, as the person at `screen` has it.

    `services` tells those of the repository. InputError where the disk may not be written.
    """
    service = answers.service or ask_service(services(), screen)
    disk, network = answers.disk, answers.network
    if not is_named(disk):
        disk = _ask_disk(disk, disks, screen)
        if "network" not in answers.model_fields_set:
            network = _ask_network(network, screen)
    if not disk.erase:
        disk = _ask_loss(disk, find_target(disk, disks), service, screen)
    return answers.model_copy(update={"service": service, "disk": disk, "network": network})


def is_named(disk: DiskAnswer) -> bool:
    """Whether it is said which disk."""
    return (disk.path, disk.serial, disk.model, disk.size_gb) != (None, None, None, None)


def _ask_disk(disk: DiskAnswer, disks: tuple[Disk, ...], screen: Screen) -> DiskAnswer:
    if not disks:
        find_target(disk, disks)  # says why
    lines = [f"/dev/{each.name}: {describe_disk(each)}; {_content(each.name)}" for each in disks]
    number = screen.choose("Which disk is the system to be on?", lines, 0)
    return disk.model_copy(update={"path": f"/dev/{disks[number].name}"})


def _content(name: str) -> str:
    try:
        with open_device(Path("/dev") / name) as device:
            return f"on it: {describe_content(device)}"
    except InputError as error:
        return error.what


def _ask_network(network: NetworkAnswer, screen: Screen) -> NetworkAnswer:
    screen.say("Address: dhcp, or CLIENT::GATEWAY:NETMASK::INTERFACE:off (the kernel's ip=).")
    return NetworkAnswer(ip=screen.ask("Address", network.ip))


def _ask_loss(disk: DiskAnswer, target: Target, service: str, screen: Screen) -> DiskAnswer:
    """Whether what is on the disk may be lost; where the same service is on it, its data stay."""
    with open_device(target.path, write=True) as device:
        system, content = find_system(device), describe_content(device)
    if system and system.papers.manifest.name == service and not disk.fresh:
        screen.say(f"On {target} is {content}. The new system goes beside it; data are kept.")
        if screen.confirm("Go on?", default=True):
            return disk
    else:
        screen.say(f"On {target} now: {content}.")
        if screen.confirm("ALL OF IT WILL BE LOST. Erase it?"):
            return disk.model_copy(update={"erase": True})
    raise InputError("not confirmed, so nothing was written")
