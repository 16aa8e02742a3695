"""``onejob rehearse``: run an image, replay its drills, refuse to call it good on any denial."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import out, print_table, progress
from onejob.model.errors import RehearsalError
from onejob.model.image import open_image
from onejob.system.rehearse import RehearsalReport
from onejob.system.rehearse import rehearse as rehearse_image


class Where(StrEnum):
    """Where an image runs."""

    host = "host"
    qemu = "qemu"


ImageArgument = Annotated[Path, typer.Argument(metavar="IMAGE", help="An image folder.")]
WhereOption = Annotated[Where, typer.Option("--on", help="Where to run it.")]
MemoryOption = Annotated[
    int | None, typer.Option("--memory", min=8, max=1 << 20, help="Guest memory in MiB.")
]


def rehearse(
    image: ImageArgument, on: WhereOption = Where.host, memory: MemoryOption = None
) -> None:
    """Run an image and replay its drills from outside.

    Fails (exit status 6) on any denied call, any file that the service asks
    for and the image lacks, and any drill that fails.

    \b
    Examples:
      onejob rehearse nginx.onejob --on host
      onejob rehearse nginx.onejob --on qemu --memory 32
    """
    opened = open_image(image)
    with progress() as shown:
        report = rehearse_image(opened, on.value, shown, memory_mib=memory)
    print_report(report)
    if not report.passed:
        count = len(report.findings)
        what = f"{image} did not pass its rehearsal on {on.value}"
        raise RehearsalError(f"{what}: {count} finding{'s' if count > 1 else ''}, see above")


def print_report(report: RehearsalReport) -> None:
    """Drills, figures, findings."""
    rows = [
        (drill.name, "passed" if drill.passed else "FAILED", f"{drill.seconds:.1f} s",
         str(drill.requests or ""), drill.failure)
        for drill in report.drills
    ]  # fmt: skip
    print_table(f"rehearsal on {report.where}", ("drill", "", "took", "requests", ""), rows)
    for finding in report.findings:
        out.print(f"finding: {finding.kind} {finding.object}\n  → {finding.remedy}",
                  markup=False, soft_wrap=True)  # fmt: skip
    for note in report.notes:
        out.print(f"note: {note}", markup=False, soft_wrap=True)
    ready = (
        "never ready" if report.ready_seconds is None else f"ready in {report.ready_seconds:.2f} s"
    )
    out.print(
        f"{'passed' if report.passed else 'NOT passed'}: {ready}, {report.requests} requests, "
        f"{len(report.denials)} denials",
        soft_wrap=True,
    )
