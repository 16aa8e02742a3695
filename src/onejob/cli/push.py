"""``onejob push``: image, Profile or kernel -> a new release of it in a signed repository."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.natives import cache_path
from onejob.cli.show import err, megabytes, out, progress
from onejob.model.errors import BuildError, InputError, LacksError
from onejob.model.image import open_image
from onejob.repository.keys import TRUST
from onejob.repository.push import DAYS, Pushed, Subject, create, describe, describe_kernel
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
    kernel: Annotated[
        bool, typer.Option("--kernel", help="The image's kernel by itself, for onejob install.")
    ] = False,
    drivers: Annotated[
        bool, typer.Option("--drivers", help="Make the catalogue of drivers for it, if need be.")
    ] = False,
    new_keys: Annotated[
        bool, typer.Option("--new-keys", help="Replace all keys but root.key.")
    ] = False,
    days: Annotated[
        int,
        typer.Option("--days", metavar="N", min=1, max=365, help="How long it counts as current."),
    ] = DAYS,
) -> None:
    """Put an image, a profile or a kernel into a repository, as its newest version.

    The repository is a folder: share it as it is, or by any web server. The
    keys stay outside of it. Whoever pulls trusts KEYS/root.json.

    \b
    Examples:
      onejob push nginx.onejob --to /srv/onejob --keys ~/keys --create
      onejob push nginx.profile.xml --to /srv/onejob --keys ~/keys
      onejob push nginx.onejob --kernel --to /srv/onejob --keys ~/keys
      onejob push --to /srv/onejob --keys ~/keys
    """
    described = _describe(subject, kernel, drivers)
    if create_both:
        create(to, keys, days)
        _say(f"{to} made; its keys are in {keys}: keep them to yourself, root.key best elsewhere")
        _say(f"whoever pulls from it needs {keys / TRUST} once, on a way that he trusts")
    with progress() as shown:
        done = push_subject(described, to, keys, days=days, progress=shown, new_keys=new_keys)
    _print(done)


def _describe(subject: Path | None, kernel: bool, drivers: bool) -> Subject | None:
    if not kernel:
        return describe(subject) if subject else None
    if subject is None:
        raise InputError("--kernel of which image?", "give an image")
    return describe_kernel(subject, _drivers(subject, make=drivers))


def _drivers(image: Path, *, make: bool) -> bytes:
    """The catalogue of drivers of the image's kernel; none, and a note, where there is none."""
    # Only here, and they take long to import.
    from onejob.builder.catalogue import cached_catalogue, make_catalogue

    try:
        with progress() as shown:
            found = make_catalogue(cache_path(), shown) if make else cached_catalogue(cache_path())
    except (LacksError, BuildError) as error:
        return _without(error.what)
    about = open_image(image).manifest.kernel
    if found is None:
        return _without("it is not made yet, --drivers makes it")
    if about and found.kernel not in about.source:
        return _without(f"the one at hand is of {found.kernel}, not of {about.source}")
    return found.model_dump_json(exclude_defaults=True).encode()


def _without(why: str) -> bytes:
    words = f"no catalogue of drivers with it: {why}; installers then know only what components do"
    err.print(f"onejob: note: {words}", markup=False, soft_wrap=True)
    return b""


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
