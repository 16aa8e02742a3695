"""``onejob pull``: image, Profile or kernel from a signed repository, verified."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from onejob.base.natives import state_path
from onejob.cli.show import megabytes, out, print_table, progress
from onejob.model.release import History
from onejob.repository.fetch import PATIENCE_S, open_source
from onejob.repository.pull import find_history, list_histories
from onejob.repository.pull import pull as pull_release
from onejob.repository.trust import trusted


def pull(
    source: Annotated[
        str, typer.Option("--from", metavar="REPOSITORY", help="A folder, http:// or https://.")
    ],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What to bring; none: list all.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: its name in the repository.")
    ] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", min=1, help="Not the newest, but this one."),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", metavar="ROOT.JSON", help="Its owner's root; needed once."),
    ] = None,
    patience: Annotated[
        float,
        typer.Option("--patience", metavar="SECONDS", min=0.1, help="Then a server is too slow."),
    ] = PATIENCE_S,
) -> None:
    """Bring an image, a profile or a kernel from a repository, if all of it is right.

    What is not signed by its owner, is older than what was seen before, was
    not renewed in time, or is not whole, is refused, and nothing is written.

    \b
    Examples:
      onejob pull nginx.onejob --from https://example.org/os --trust root.json
      onejob pull nginx.profile.xml --from /srv/onejob -o next.profile.xml
      onejob pull --from /srv/onejob
    """
    with (
        open_source(source, patience) as repository,
        trusted(repository, trust, state_path()) as client,
    ):
        if not name:
            return _print_all(repository.address, list_histories(client))
        history = find_history(client, name)
        release = history.release(version)
        with progress() as shown:
            place = output or Path(history.target)
            done = pull_release(client, history, release, place, shown)
    words = f"{done.path} is {done.target} version {done.release.version}"
    fetched = f"{megabytes(done.fetched)} of {megabytes(done.release.bytes)} fetched"
    out.print(f"{words}: {fetched}, all verified", markup=False, soft_wrap=True)


def _print_all(address: str, histories: Iterable[History]) -> None:
    rows = [
        (each.target, str(each.newest.version), each.newest.pushed, megabytes(each.newest.bytes))
        for each in histories
    ]
    print_table(address, ("name", "newest", "pushed", "size"), rows)
