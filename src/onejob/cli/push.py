"""``onejob push``: an image or a Profile -> a new release of it in a signed repository."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import err, megabytes, out, progress
from onejob.repository.keys import TRUST
from onejob.repository.push import DAYS, Pushed, create, describe
from onejob.repository.push import push as push_subject


def push(
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="The repository.")],
    keys: Annotated[
        Path,
        typer.Option(
            "--keys",
            metavar="FOLDER",
            envvar="ONEJOB_KEYS",
            help="The keys that sign it.",
        ),
    ],
    subject: Annotated[
        Path | None,
        typer.Argument(metavar="SUBJECT", help="An image or a profile; none: renew."),
    ] = None,
    create_both: Annotated[
        bool, typer.Option("--create", help="Make the repository, and its keys.")
    ] = False,
    new_keys: Annotated[
        bool, typer.Option("--new-keys", help="Replace all keys but root.key.")
    ] = False,
    days: Annotated[
        int,
        typer.Option("--days", metavar="N", min=1, max=365, help="How long it counts as current."),
    ] = DAYS,
) -> None:
    """Put an image or a profile into a repository, as its newest version.

    The repository is a folder: share it as it is, or by any web server. The
    keys stay outside of it. Whoever pulls trusts KEYS/root.json.

    \b
    Examples:
      onejob push nginx.onejob --to /srv/onejob --keys ~/keys --create
      onejob push nginx.profile.xml --to /srv/onejob --keys ~/keys
      onejob push --to /srv/onejob --keys ~/keys
    """
    described = describe(subject) if subject else None
    if create_both:
        create(to, keys, days)
        _say(f"{to} made; its keys are in {keys}: keep them to yourself, root.key best elsewhere")
        _say(f"whoever pulls from it needs {keys / TRUST} once, on a way that he trusts")
    with progress() as shown:
        done = push_subject(described, to, keys, days=days, progress=shown, new_keys=new_keys)
    _print(done)


def _print(done: Pushed) -> None:
    if done.history:
        newest = done.history.newest
        what = f"{done.history.target} version {newest.version}"
        new = f"pushed, {megabytes(done.stored)} of {megabytes(newest.bytes)} were new"
        _say(f"{what} {new if done.changed else 'is the newest already'}")
    _say(f"the repository is current until {done.current_until}; onejob push renews it")
    for note in done.notes:
        err.print(f"onejob: note: {note}", markup=False, soft_wrap=True)


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
