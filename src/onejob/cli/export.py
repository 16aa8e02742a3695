"""``onejob export``: Image -> what other systems run."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.rehearse import ImageArgument
from onejob.cli.show import megabytes, out, print_table, progress
from onejob.disk.options import QEMU_NETWORK, Options
from onejob.exporter.export import KINDS, export_image
from onejob.exporter.form import README
from onejob.model.image import open_image


def export(
    image: ImageArgument,
    to: Annotated[str, typer.Option("--to", metavar="KIND", help=", ".join(KINDS))],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new folder. Default: NAME-KIND")
    ] = None,
    ip: Annotated[
        str | None,
        typer.Option("--ip", help="The kernel's ip=. Default: QEMU's user network; installer: off"),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Disks: sign what firmware starts (PEM).")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Disks: that of the key (PEM).")
    ] = None,
    kit: Annotated[
        Path | None, typer.Option("--kit", help="Installer: the repository that it carries.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option("--trust", help="Installer: the kit's root.json.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="Installer: answers, so that nobody is asked.")
    ] = None,
) -> None:
    """Export an image to a system that is not onejob's.

    The result is a folder with all that the other system needs, and a
    README.md that says how to run it. The same image gives the same bytes.

    \b
    Examples:
      onejob export nginx.onejob --to oci -o nginx-oci
      sh nginx-oci/run.sh
      onejob export nginx.onejob --to disk --key my.key --certificate my.pem
      onejob export i.onejob --to installer-iso --kit kit --trust root.json
    """
    opened = open_image(image)
    destination = output or Path(f"{opened.plan.name}-{to}")
    with progress() as shown:
        network = ip or ("off" if to == "installer-iso" else QEMU_NETWORK)
        options = Options(network, key, certificate, kit, trust, answers)
        made = export_image(opened, to, destination, shown, options)
    files = sorted(path for path in destination.rglob("*") if path.is_file())
    rows = [(str(p.relative_to(destination)), megabytes(p.stat().st_size)) for p in files]
    print_table(f"{destination}: {made.title}", ("file", "size"), rows)
    out.print(f"next: read {destination / README}", soft_wrap=True)
