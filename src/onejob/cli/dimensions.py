"""``onejob dimensions``: everything in an image that has a size, from what, and why."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import print_table
from onejob.model.image import open_image
from onejob.model.jsonfile import load_json, rows_to_json
from onejob.model.plan import Plan
from onejob.report.dimensions import dimensions_table


def dimensions(
    subject: Annotated[Path, typer.Argument(metavar="IMAGE|PLAN", help="What to show.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show everything that has a size: how large, decided from which fact, and why.

    \b
    Examples:
      onejob dimensions nginx.onejob
      onejob dimensions nginx.plan.json --json
    """
    plan = open_image(subject).plan if subject.is_dir() else load_json(subject, Plan, "plan")
    if json:
        print(rows_to_json(plan.dimensions), end="")
        return
    print_table(*dimensions_table(plan))
