"""``onejob profile``: Workload -> Profile."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.cli.show import out, print_table, progress
from onejob.model.profile import Profile
from onejob.model.profile_xml import write_profile
from onejob.model.workload import load_workload, workload_text
from onejob.profiler.enough import DEFAULT_MAX_ROUNDS, Patience
from onejob.profiler.profile import take_profile
from onejob.report.overview import notes


def profile(
    workload: Annotated[Path, typer.Option("--workload", "-w", help="The workload file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: NAME.profile.xml")
    ] = None,
    until_stable: Annotated[
        int,
        typer.Option(
            min=0, max=100, help="Repeat the drills until so many rounds bring nothing new."
        ),
    ] = 0,
    max_rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="With --until-stable: at most so many rounds.")
    ] = DEFAULT_MAX_ROUNDS,
) -> None:
    """Run a service under its drills, and write down all that it uses.

    The service runs twice, on a throw-away view of this machine: what it
    writes, renames or removes here is gone afterwards.

    \b
    Examples:
      onejob profile --workload services/nginx/workload.toml
      onejob profile -w my.toml -o my.profile.xml
      onejob profile -w my.toml --until-stable 2
    """
    loaded = load_workload(workload)
    target = output or Path(f"{loaded.name}.profile.xml")
    with progress() as shown:
        rescue = target.parent / f"{loaded.name}.recording.json"
        patience = Patience(until_stable, max_rounds if until_stable else 1)
        taken = take_profile(loaded, workload_text(workload), shown, patience, rescue)
        write_atomically(target, write_profile(taken).encode())
    _print_summary(taken)
    out.print(f"{target} written; next: onejob build {target}", markup=False, soft_wrap=True)


def _print_summary(taken: Profile) -> None:
    heads = ("drill", "phase", "rounds", "quiet", "new calls", "new files")
    rows = [
        (
            run.name,
            run.phase,
            *map(str, (run.rounds, run.quiet_rounds, run.new_calls, run.new_files)),
        )
        for run in taken.drills
    ]
    print_table(f"{taken.name}: what each drill brought", heads, rows)
    used = sum(1 for file in taken.files if file.kind == "file" and file.uses)
    out.print(
        f"{len(taken.system_calls)} system calls, {used} files used, "
        f"{taken.number_of_processes} processes, {taken.number_of_sockets} sockets, "
        f"{taken.events_lost} events lost"
    )
    for note in notes(taken):
        out.print(note, markup=False, soft_wrap=True)
