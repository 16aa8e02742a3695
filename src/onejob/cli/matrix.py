"""``onejob matrix``: which system calls each program of an image may make, in which phase."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import out, print_table
from onejob.model.image import open_image
from onejob.model.jsonfile import load_json, rows_to_json
from onejob.model.plan import Plan
from onejob.report.matrix import matrix_notes, matrix_tables


def matrix(
    subject: Annotated[Path, typer.Argument(metavar="IMAGE|PLAN", help="What to show.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show which system calls each program may make, by role and phase.

    A worker is a process that a program forked. A process serves from its first
    call on that waits, once it listens.

    \b
    Examples:
      onejob matrix nginx.onejob
      onejob matrix nginx.plan.json --json
    """
    plan = open_image(subject).plan if subject.is_dir() else load_json(subject, Plan, "plan")
    if json:
        print(rows_to_json(plan.matrix), end="")
        return
    for table in matrix_tables(plan):
        if table.rows:
            print_table(*table)
    for note in matrix_notes(plan):
        out.print(note, markup=False, soft_wrap=True)
