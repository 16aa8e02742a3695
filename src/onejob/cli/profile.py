"""``onejob profile``: Workload -> Profile."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.cli.show import out, print_table, progress
from onejob.model.profile import Profile
from onejob.model.profile_xml import write_profile
from onejob.model.workload import load_workload, workload_text
from onejob.profiler.profile import take_profile


def profile(
    workload: Annotated[Path, typer.Option("--workload", "-w", help="The workload file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: NAME.profile.xml")
    ] = None,
) -> None:
    """Run a service under its drills, and write down all that it uses.

    The service runs twice, on a throw-away view of this machine: what it
    writes, renames or removes here is gone afterwards.

    \b
    Examples:
      onejob profile --workload services/nginx/workload.toml
      onejob profile -w my.toml -o my.profile.xml
    """
    loaded = load_workload(workload)
    target = output or Path(f"{loaded.name}.profile.xml")
    with progress() as shown:
        taken = take_profile(loaded, workload_text(workload), shown)
        write_atomically(target, write_profile(taken).encode())
    _print_summary(taken)
    out.print(f"{target} written; next: onejob build {target}", markup=False, soft_wrap=True)


def _print_summary(taken: Profile) -> None:
    rows = [(run.name, run.phase, str(run.new_calls), str(run.new_files)) for run in taken.drills]
    print_table(
        f"{taken.name}: what each drill brought", ("drill", "phase", "new calls", "new files"), rows
    )
    used = sum(1 for file in taken.files if file.kind == "file" and file.uses)
    out.print(
        f"{len(taken.system_calls)} system calls, {used} files used, "
        f"{taken.number_of_processes} processes, {taken.number_of_sockets} sockets, "
        f"{taken.events_lost} events lost"
    )
