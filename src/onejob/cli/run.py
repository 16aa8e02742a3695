"""``onejob run``: Image -> Instance, until it ends or is stopped."""

import re
from typing import Annotated

import typer

from onejob.cli.rehearse import ImageArgument, MemoryOption, Where, WhereOption
from onejob.cli.show import out, progress
from onejob.model.errors import InputError
from onejob.model.image import open_image
from onejob.system.run import run as run_image

PublishOption = Annotated[
    list[str] | None,
    typer.Option("--publish", "-p", metavar="HERE:THERE", help="Forward a port; repeatable."),
]


def run(
    image: ImageArgument,
    on: WhereOption = Where.host,
    publish: PublishOption = None,
    memory: MemoryOption = None,
) -> None:
    """Run an image until the service ends, or Ctrl-C stops it.

    Without --publish, each of the service's ports is reached at the same
    port of 127.0.0.1.

    \b
    Examples:
      onejob run nginx.onejob --on host --publish 8080:80
      onejob run nginx.onejob --on qemu --publish 8080:80 --memory 32
    """
    opened = open_image(image)
    ports = parse_publish(publish or [f"{port}:{port}" for port in opened.plan.service.ports])
    with progress() as shown:
        ended = run_image(opened, on.value, ports, memory, shown)
    out.print(f"{opened.plan.name} ended with {ended}")


def parse_publish(words: list[str]) -> dict[int, int]:
    """``["8080:80"]`` as ``{8080: 80}``; InputError for anything else."""
    ports: dict[int, int] = {}
    for word in words:
        match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", word)
        if not match or not all(0 < int(number) < 65536 for number in match.groups()):
            raise InputError(
                f"--publish {word!r} is not HERE:THERE", "for example: --publish 8080:80"
            )
        if int(match[1]) in ports:
            raise InputError(f"--publish: port {match[1]} given twice")
        ports[int(match[1])] = int(match[2])
    return ports
