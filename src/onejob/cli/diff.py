"""``onejob diff``: what two Profiles, or two Images, do not have in common."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from onejob.cli.show import out, print_table
from onejob.model.image import open_image
from onejob.model.jsonfile import rows_to_json, to_json
from onejob.model.lines import camel
from onejob.model.profile_diff import Difference, Differences, Measures, Scalar, diff_profiles
from onejob.model.profile_xml import load_profile
from onejob.report.image_diff import diff_images

DIFFERENT = 1  # the exit status, as of diff(1)
_SHOWN = 100
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="The profile or image before.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The profile or image after.")],
    measures: Annotated[
        Measures, typer.Option("--measures", "-m", help="Which numbers to compare.")
    ] = "peaks",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show what B has and A has not, and the other way round.

    The exit status is 0 where they have the same facts, 1 where they differ.

    \b
    Examples:
      onejob diff old.profile.xml new.profile.xml
      onejob diff old.profile.xml new.profile.xml --measures all --json
      onejob diff old.onejob new.onejob
    """
    if a.is_dir() or b.is_dir():
        _diff_images(a, b, json)
        return
    found = diff_profiles(load_profile(a), load_profile(b), measures)
    if json:
        print(to_json(found), end="")
    else:
        _print_tables(found)
    if found.differences:
        raise typer.Exit(DIFFERENT)


def _diff_images(a: Path, b: Path, json: bool) -> None:
    """A sentence for each difference."""
    found = diff_images(open_image(a), open_image(b))
    if json:
        print(rows_to_json(found), end="")
    else:
        for difference in found:
            out.print(escape(difference.sentence), soft_wrap=True)
        counts = {what: sum(each.what == what for each in found) for what in _SIGNS}
        out.print(", ".join(f"{count} {what}" for what, count in counts.items()))
    if found:
        raise typer.Exit(DIFFERENT)


def _print_tables(found: Differences) -> None:
    for kind, group in groupby(found.differences, key=lambda difference: difference.kind):
        rows = list(group)
        heads = ("", *(camel(name) for name in rows[0].fact), "change")
        print_table(camel(kind), heads, map(_row, rows))
    counts = {what: sum(d.what == what for d in found.differences) for what in _SIGNS}
    out.print(", ".join(f"{count} {what}" for what, count in counts.items()))


def _row(difference: Difference) -> tuple[str, ...]:
    facts = (_text(value) for value in difference.fact.values())
    return (_SIGNS[difference.what], *facts, "\n".join(_change_texts(difference)))


def _change_texts(difference: Difference) -> Iterator[str]:
    for change in difference.changes:
        yield f"{camel(change.field)}: {_text(change.before)} -> {_text(change.after)}"


def _text(value: Scalar) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    text = " ".join(text.split()) or "(none)"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
