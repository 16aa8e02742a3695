"""``onejob install``: a service from a repository -> this machine's disk."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from onejob.base.natives import state_path
from onejob.cli.show import PlainProgress
from onejob.installer.find import Found, found_media, merge, untrusted_root, with_media
from onejob.installer.install import Installed, check_hardware, held_services
from onejob.installer.install import install as install_order
from onejob.installer.order import as_answers, as_order, read_answers
from onejob.installer.questions import ask_rest, ask_trust
from onejob.installer.screen import Screen
from onejob.installer.target import possible_disks
from onejob.model.answers import Answers
from onejob.model.hardware import Disk, Hardware, load_hardware
from onejob.report.hardware import hardware_table
from onejob.survey.devices import survey_disks
from onejob.survey.source import LocalSource, local_architecture
from onejob.survey.survey import survey_machine


def install(
    service: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The service, as the repository has it.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="REPOSITORY", help="A folder, http:// or https://."),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", metavar="FILE", help="Answers to all questions.")
    ] = None,
    disk: Annotated[
        Path | None, typer.Option("--disk", metavar="PATH", help="A whole disk, or a raw file.")
    ] = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="All that is on the disk may be lost.")
    ] = False,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", metavar="ROOT.JSON", help="Its owner's root; needed once."),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", min=1, help="Not the newest, but this one."),
    ] = None,
    ip: Annotated[
        str | None, typer.Option("--ip", help="The kernel's ip=; without it: dhcp.")
    ] = None,
    medium: Annotated[
        Path | None,
        typer.Option("--medium", metavar="DEVICE", help="Look at no other for kit and answers."),
    ] = None,
    hardware: Annotated[
        Path | None,
        typer.Option("--hardware", metavar="FILE", help="Not for this machine, but for that."),
    ] = None,
) -> None:
    """Install a service on a disk of this machine, as its whole operating system.

    Its image is made anew for this machine's hardware, from what the
    repository has; nothing is compiled. What answers and options leave open
    is asked on the console. Nothing is written before the disk, and the loss
    of what is on it, are confirmed.

    \b
    Examples:
      onejob install nginx --from /media/kit/onejob --trust root.json
      onejob install --answers answers.toml
      onejob install nginx --from https://example.org/os --disk /dev/vda --erase
    """
    given = _given(answers, service, source, trust, version, disk, erase, ip)
    machine = _machine(hardware)
    _show(machine)
    check_hardware(machine)
    with found_media(given, medium) as found:
        # Those of this machine, also where it is installed for another.
        disks = possible_disks(survey_disks(LocalSource()), found.disks)
        complete = _complete(with_media(given, found), disks, found)
        done = install_order(as_order(complete), machine, disks, state_path(), PlainProgress())
    _print(done)


def _given(
    file: Path | None,
    service: str | None,
    source: str | None,
    trust: Path | None,
    version: int | None,
    disk: Path | None,
    erase: bool,
    ip: str | None,
) -> Answers:
    """The answer file, with the options instead of what it says."""
    path = {"path": str(disk.absolute())} if disk else {}
    said = {
        "service": service,
        "repository": source,
        "trust": str(trust) if trust else None,
        "version": version,
        "disk": {**path, **({"erase": True} if erase else {})} or None,
        "network": {"ip": ip} if ip else None,
    }
    options = {name: value for name, value in said.items() if value is not None}
    given = as_answers(options)
    return merge(read_answers(file), given) if file else given


def _machine(path: Path | None) -> Hardware:
    if path is not None:
        return load_hardware(path)
    return survey_machine(LocalSource(), "this", local_architecture())


def _show(machine: Hardware) -> None:
    """Plain lines: a console may know nothing but text."""
    table = hardware_table(machine)
    width = max(len(row[0]) for row in table.rows)
    print(table.title)
    for row in table.rows:
        print(f"  {row[0]:<{width}}  {row[1]}")
    for sentence in machine.unclear:
        print(f"  unclear: {sentence}")
    sys.stdout.flush()


def _complete(answers: Answers, disks: tuple[Disk, ...], found: Found) -> Answers:
    """`answers`, and what somebody at the console says to the rest."""
    # The installer's image has a pipe, on which comes what is typed on any of its consoles.
    if not sys.stdin.isatty() and os.environ.get("ONEJOB_QUESTIONS") != "yes":
        return answers
    screen = Screen(sys.stdin, sys.stdout)
    root = untrusted_root(answers, found)
    if root:
        answers = answers.model_copy(update={"trust": ask_trust(root, screen)})

    def services() -> list[str]:
        return held_services(as_order(answers, service="any"), state_path())

    return ask_rest(answers, services, disks, screen)


def _print(done: Installed) -> None:
    print(f"{done.name} is on {done.target}, slot {done.written.slot}, and was read back.")
    if done.written.kept:
        print(
            f"It is tried at the next start; should it not get ready, there is {done.written.kept}."
        )
    print("Take the medium out, and restart.")
