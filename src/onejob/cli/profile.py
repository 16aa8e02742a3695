"""``onejob profile``: Workload, or what another tool wrote -> Profile."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.cli.show import out, print_table, progress
from onejob.model.profile import Profile
from onejob.model.profile_xml import write_profile
from onejob.model.workload import load_workload, workload_text
from onejob.profiler.imports.importing import import_profile
from onejob.profiler.profile import take_profile
from onejob.report.overview import notes


def profile(
    workload: Annotated[
        Path | None, typer.Option("--workload", "-w", help="The workload file.")
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="What another tool wrote; see below."),
    ] = None,
    program: Annotated[
        str, typer.Option(help="With --from: the main program's path, where FILE lacks it.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: NAME.profile.xml")
    ] = None,
) -> None:
    """Run a service under its drills, and write down all that it uses.

    The service runs twice, on a throw-away view of this machine: what it
    writes, renames or removes here is gone afterwards.

    With --from, what another tool saw becomes a profile that says what it
    lacks: logs of strace (those of -ff by --from for each, their folder, or
    their common beginning), texts of perf trace, OCI seccomp profiles,
    captures of Process Monitor as PML or CSV.

    \b
    Examples:
      onejob profile --workload services/nginx/workload.toml
      onejob profile -w my.toml -o my.profile.xml
      onejob profile --from strace.log
      onejob profile --from seccomp.json --program /usr/sbin/nginx
    """
    if bool(workload) == bool(sources):
        raise typer.BadParameter("give one of --workload FILE and --from FILE")
    if program and not sources:
        raise typer.BadParameter("--program goes with --from: a workload says its program itself")
    with progress() as shown:
        if workload:
            taken = take_profile(load_workload(workload), workload_text(workload), shown)
        else:
            taken = import_profile(sources or [], program)
        target = output or Path(f"{taken.name}.profile.xml")
        write_atomically(target, write_profile(taken).encode())
    _print_summary(taken)
    following = "build" if workload else "explain"
    out.print(f"{target} written; next: onejob {following} {target}", markup=False, soft_wrap=True)


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
    if not taken.workload:
        for note in notes(taken):
            out.print(f"note: {note}", markup=False, soft_wrap=True)
