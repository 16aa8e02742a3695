"""``onejob drift``: whether the profile of a running instance is still true."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import out, print_table
from onejob.model.drift import TOLERANCE_PERCENT, Drifted, find_drift
from onejob.model.errors import InputError
from onejob.model.image import PROFILE
from onejob.model.jsonfile import load_json
from onejob.model.observations import Observations
from onejob.model.profile_xml import load_profile
from onejob.report.status import shown
from onejob.system.asked import ask_observations
from onejob.system.registry import find

DRIFTED = 1  # the exit status


def drift(
    subject: Annotated[
        str, typer.Argument(metavar="INSTANCE", help="A running one, or its observations (.json).")
    ],
    profile: Annotated[
        Path | None, typer.Option("--profile", help="Compare with this one, not the image's.")
    ] = None,
    tolerance: Annotated[
        int, typer.Option("--tolerance", min=0, help="Percent that a peak may be above.")
    ] = TOLERANCE_PERCENT,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say in which facts an instance is not as its profile says, and by how much.

    The exit status is 0 where the profile is still true, and 1 where a call
    was denied, a program or file was new, a peak is above the profile's by
    more than the tolerance, or too many blocks of memory were relayed.

    \b
    Examples:
      onejob drift nginx
      onejob drift observations.json --profile nginx.profile.xml
    """
    found, place = _observations(subject)
    if place is None and profile is None:
        raise InputError(f"{subject} does not say which profile it is of", "add --profile FILE")
    known = load_profile(profile or Path(str(place)) / PROFILE)
    drifted = find_drift(known, found, tolerance)
    if json:
        rows = [{**each.model_dump(mode="json"), "by": each.by} for each in drifted]
        print(json_module.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print(subject, drifted)
    if any(each.matters for each in drifted):
        raise typer.Exit(DRIFTED)


def _observations(subject: str) -> tuple[Observations, Path | None]:
    """Those of a file or a running instance; of the latter also its image."""
    if subject.endswith(".json"):
        return load_json(Path(subject), Observations, "observations"), None
    entry = find(subject)
    return ask_observations(entry.place), entry.folder


def _print(subject: str, drifted: tuple[Drifted, ...]) -> None:
    rows = [
        ("" if each.matters else "within tolerance", each.kind, shown(each.what), each.by)
        for each in drifted
    ]
    if rows:
        print_table(f"drift of {subject}", ("", "fact", "what", "by"), rows)
    count = sum(each.matters for each in drifted)
    if count:
        out.print(
            f"the profile is not true in {count} facts; a next one: onejob merge PROFILE "
            "OBSERVATIONS.json -o NEXT",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    else:
        out.print("the profile is still true")
