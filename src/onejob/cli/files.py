"""``onejob files``: a directory as the service sees it, and on which device each entry lies."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import print_table
from onejob.model.image import open_image
from onejob.model.profile_xml import load_profile
from onejob.report.layers import devices_table, entries_table, grants_table, list_folder


def files(
    subject: Annotated[Path, typer.Argument(metavar="IMAGE", help="What to look into.")],
    folder: Annotated[
        str, typer.Argument(metavar="[DIRECTORY]", help="As the service knows it.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show where the paths of an image lie: what is read-only, and what is not.

    Without DIRECTORY: the whole mapping, and the top directory.

    \b
    Examples:
      onejob files nginx.onejob
      onejob files nginx.onejob /var/log/nginx
    """
    image = open_image(subject)
    found = list_folder(image.plan, load_profile(image.profile), folder or "/")
    if json:
        rows = [entry._asdict() for entry in found]
        print(json_module.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not folder:
        print_table(*devices_table(image.plan))
    print_table(*entries_table(found[0].path, found))
    if image.plan.landlock != "none":
        print_table(*grants_table(image.plan, found[0].path))
