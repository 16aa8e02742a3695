"""``onejob merge``: several Profiles of one service, and Observations of it -> one Profile."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.cli.show import out
from onejob.model.jsonfile import parse_json
from onejob.model.noun import read_text
from onejob.model.observations import Observations
from onejob.model.profile import FileUse, Profile
from onejob.model.profile_merge import Labelled, merge_profiles
from onejob.model.profile_observed import profile_observed
from onejob.model.profile_xml import load_with_digest, profile_chunks
from onejob.profiler.describe import Describer
from onejob.report.status import shown


def merge(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="A profile; name and workload are from it.")
    ],
    others: Annotated[
        list[Path],
        typer.Argument(metavar="B...", help="Further profiles of the same service, observations."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The profile to write.")],
    force: Annotated[
        bool, typer.Option("--force", help="Merge profiles of different binaries too.")
    ] = False,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="CALL|PATH", help="Leave this denied call or path out."),
    ] = None,
) -> None:
    """Make one profile of several: all facts, counts added, the largest peaks.

    Observations (JSON) of an instance become part of it: calls that were
    denied are then allowed, so look at each; peaks and memory are raised.
    Paths that were asked for in vain are carried if this machine has them.

    \b
    Examples:
      onejob merge monday.xml tuesday.xml -o both.xml
      onejob merge nginx.profile.xml strace.xml -o all.profile.xml
      onejob merge nginx.profile.xml observations.json -o next.profile.xml
    """
    start = _load(first)
    further = [_load_any(path, start.profile, set(without or ())) for path in others]
    merged = merge_profiles([start, *further], force=force)
    write_atomically(output, profile_chunks(merged))
    used = sum(1 for file in merged.files if file.uses)
    out.print(
        f"{output} written from {len(others) + 1} profiles: {len(merged.system_calls)} system "
        f"calls, {used} files used, {merged.events_lost} events lost",
        markup=False,
        soft_wrap=True,
    )


def _load_any(path: Path, known: Profile, without: set[str]) -> Labelled:
    """A profile, or observations made one; each call that they bring is printed."""
    if path.suffix != ".json":
        return _load(path)
    text = read_text(path, "observations")
    found = parse_json(text, Observations, f"observations {path}")
    made = profile_observed(found, known, without)
    for use in made.calls:
        words = f"denied {use.count} times, now in the profile: {use.call_name} of {use.program}"
        out.print(shown(words), markup=False, soft_wrap=True)
    made = made.model_copy(update={"files": tuple(_as_here(made.files))})
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Labelled(f"{path.name} (observations, sha256 {digest[:16]})", made)


def _as_here(files: Iterable[FileUse]) -> Iterator[FileUse]:
    """Those that were missing in the instance and are on this machine, as they are here."""
    here = Describer()
    for file in files:
        programs = ", ".join(sorted({use.program for use in file.uses}))
        is_missing = all(use.how == "missing" for use in file.uses)
        words = f"{'not there for' if is_missing else 'refused to'} {programs}: {file.path}"
        if is_missing and os.path.lexists(file.path):
            words += ", and on this machine it is: the next image will have it"
            for use in file.uses:
                here.add(file.path, use.program, use.drill, "read", use.count)
        else:
            words += ", now in the profile as that"
            yield file
        out.print(shown(words), markup=False, soft_wrap=True)
    yield from here.complete()


def _load(path: Path) -> Labelled:
    profile, digest = load_with_digest(path)
    return Labelled(f"{path.name} (sha256 {digest[:16]})", profile)
