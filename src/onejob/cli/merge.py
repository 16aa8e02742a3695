"""``onejob merge``: several Profiles of one service -> one Profile."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.cli.show import out
from onejob.model.profile_merge import Labelled, merge_profiles
from onejob.model.profile_xml import load_with_digest, profile_chunks


def merge(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="A profile; name and workload are from it.")
    ],
    others: Annotated[
        list[Path], typer.Argument(metavar="B...", help="Further profiles of the same service.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The profile to write.")],
    force: Annotated[
        bool, typer.Option("--force", help="Merge profiles of different binaries too.")
    ] = False,
) -> None:
    """Make one profile of several: all facts, counts added, the largest peaks.

    \b
    Examples:
      onejob merge monday.xml tuesday.xml -o both.xml
      onejob merge nginx.profile.xml strace.xml -o all.profile.xml
    """
    profiles = [_load(path) for path in (first, *others)]
    merged = merge_profiles(profiles, force=force)
    write_atomically(output, profile_chunks(merged))
    used = sum(1 for file in merged.files if file.uses)
    out.print(
        f"{output} written from {len(profiles)} profiles: {len(merged.system_calls)} system "
        f"calls, {used} files used, {merged.events_lost} events lost",
        markup=False,
        soft_wrap=True,
    )


def _load(path: Path) -> Labelled:
    profile, digest = load_with_digest(path)
    return Labelled(f"{path.name} (sha256 {digest[:16]})", profile)
