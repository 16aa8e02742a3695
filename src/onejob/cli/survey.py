"""``onejob survey``: Machine -> Hardware."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.bench.guest import survey_guest
from onejob.cli.show import megabytes, out, print_table
from onejob.model.hardware import Hardware
from onejob.model.image import open_image
from onejob.model.jsonfile import to_json
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
    _print_hardware(found)


def _print_hardware(found: Hardware) -> None:
    rows = [
        ("processors", f"{found.processors.count} x {found.processors.model or 'unnamed'}"),
        ("memory", f"{found.memory_kib // 1024} MiB"),
        ("firmware", found.firmware),
        ("hypervisor", found.hypervisor or "none"),
        ("consoles", ", ".join(found.consoles) or "none"),
    ]
    rows += [(f"disk {d.name}", f"{megabytes(d.size_bytes)} {d.driver}") for d in found.disks]
    rows += [(f"interface {i.name}", f"{i.driver} {i.mac}") for i in found.interfaces]
    print_table(f"{found.name} ({found.architecture})", ("what", "which"), rows)
    out.print(f"{len(found.devices)} devices, {len(found.modaliases())} kinds (modaliases)")
