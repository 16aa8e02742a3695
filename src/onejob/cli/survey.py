"""``onejob survey``: Machine -> Hardware."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from onejob.base.files import write_atomically
from onejob.bench.guest import survey_guest
from onejob.cli.show import out, print_table
from onejob.model.image import open_image
from onejob.model.jsonfile import to_json
from onejob.report.hardware import hardware_table
from onejob.survey.source import LocalSource, local_architecture
from onejob.survey.survey import survey_machine


def survey(
    inside: Annotated[
        Path | None, typer.Option("--inside", help="Boot this image in QEMU and survey the guest.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the hardware is called.")] = "this",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a hardware file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List this machine's hardware, or that of a QEMU guest.

    \b
    Examples:
      onejob survey
      onejob survey -o this.json && onejob build P --hardware this.json
      onejob survey --inside nginx.onejob --name qemu-microvm -o microvm.json
    """
    if inside is None:
        found = survey_machine(LocalSource(), name, local_architecture())
    else:
        found = survey_guest(open_image(inside), name)
    if output is not None:
        write_atomically(output, to_json(found).encode())
    if json:
        print(to_json(found), end="")
        return
    print_table(*hardware_table(found))
    for sentence in found.unclear:
        out.print(f"unclear: {escape(sentence)}", soft_wrap=True)
