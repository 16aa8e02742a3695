"""``onejob run``: Image -> Instance, until it ends or is stopped."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.rehearse import ImageArgument, MemoryOption, Where, WhereOption
from onejob.cli.show import out, progress
from onejob.model.image import open_image
from onejob.system.network import parse_publish
from onejob.system.run import run as run_image
from onejob.system.serving import parse_place

PublishOption = Annotated[
    list[str] | None,
    typer.Option("--publish", "-p", metavar="HERE:THERE", help="Forward a port; repeatable."),
]


def run(
    image: ImageArgument,
    on: WhereOption = Where.host,
    publish: PublishOption = None,
    memory: MemoryOption = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Keep the data here: a folder (host), a disk image (QEMU)."),
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Serve Prometheus metrics at unix:PATH or a port.")
    ] = "",
    administer: Annotated[
        str,
        typer.Option("--administer", help="Let the administrator's key shut it down at a port."),
    ] = "",
) -> None:
    """Run an image until the service ends, or Ctrl-C stops it.

    Without --publish, each of the service's ports is reached at the same
    port of 127.0.0.1. Without --data, what it writes is gone afterwards.

    \b
    Examples:
      onejob run nginx.onejob --on host --publish 8080:80
      onejob run nginx.onejob --on qemu --publish 8080:80 --memory 32
      onejob run nginx.onejob --data /srv/nginx --metrics 9100
    """
    opened = open_image(image)
    words = publish or [f"{port}:{port}" for port in opened.plan.service.ports]
    ports = [parse_publish(word) for word in words]
    place = parse_place(metrics, "--metrics") if metrics else None
    control = parse_place(administer, "--administer") if administer else None
    with progress() as shown:
        shown.stage(f"running {opened.plan.name} on {on.value}")
        ended = run_image(
            opened, on.value, ports, memory, shown, _show_console, data, place, control
        )
    out.print(f"{opened.plan.name} ended with {ended}")


def _show_console(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
