"""``onejob shutdown``: the administrator's signed word, which ends a running system."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import out
from onejob.system.administer import read_private_key, shut_down
from onejob.system.registry import find
from onejob.system.serving import parse_place


def shutdown(
    instance: Annotated[
        str, typer.Argument(metavar="INSTANCE", help="A running one; with --at, its service.")
    ],
    key: Annotated[Path, typer.Option("--key", help="The administrator's private key (PEM).")],
    at: Annotated[
        str, typer.Option("--at", metavar="HOST:PORT", help="Where onejob run --administer is.")
    ] = "",
) -> None:
    """Shut a running system down, as its administrator.

    Its plan names the public key (onejob build --administrator). The service
    is stopped in its own way, then the system ends.

    \b
    Examples:
      onejob shutdown nginx --key admin.key
      onejob shutdown nginx --key admin.key --at 10.1.2.3:9200
    """
    private = read_private_key(key)
    if at:
        shut_down(parse_place(at, "--at"), instance, private)
    else:
        entry = find(instance)
        shut_down(entry.place, entry.service, private)
    out.print(f"{instance} shuts down", markup=False)
