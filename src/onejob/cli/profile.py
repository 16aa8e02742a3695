"""``onejob profile``: a Workload, a running service, or what another tool wrote -> Profile."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated, Literal

import typer

from onejob.base.files import write_atomically
from onejob.base.progress import Progress
from onejob.cli.show import err, out, print_table, progress
from onejob.drive.probe import choose_backend
from onejob.model.profile import Profile
from onejob.model.profile_xml import profile_chunks
from onejob.model.workload import load_workload, workload_text
from onejob.profiler.attach import attach_profile
from onejob.profiler.enough import DEFAULT_MAX_ROUNDS, Patience
from onejob.profiler.imports.importing import import_profile
from onejob.profiler.profile import take_profile
from onejob.profiler.running import Running, by_cgroup, by_container, by_pid, by_unit
from onejob.report.overview import notes

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_HOW = "--workload, --pid, --unit, --cgroup, --container or --from"

_Workload = Annotated[Path | None, typer.Option("--workload", "-w", help="The workload file.")]
_Pid = Annotated[int | None, typer.Option(help="A process that runs, with its descendants.")]
_Unit = Annotated[str | None, typer.Option(help="A unit of systemd that runs.")]
_Cgroup = Annotated[str | None, typer.Option(help="All processes of a cgroup and below.")]
_Container = Annotated[str | None, typer.Option(help="A runc, podman or docker container, by id.")]
_Sources = Annotated[
    list[Path] | None,
    typer.Option("--from", metavar="FILE", help="What another tool, or the agent, wrote."),
]
_Program = Annotated[
    str, typer.Option(help="With --from: the main program's path, where FILE lacks it.")
]
_For = Annotated[
    str | None, typer.Option("--for", help="How long to watch: 30s, 5m. Else until Ctrl-C.")
]
_Output = Annotated[Path | None, typer.Option("--output", "-o", help="Default: NAME.profile.xml")]
_QuietRounds = Annotated[
    int,
    typer.Option(min=0, max=100, help="Repeat the drills until so many rounds bring nothing new."),
]
_MostRounds = Annotated[
    int, typer.Option(min=1, max=1000, help="With --until-stable: at most so many rounds.")
]

_Wanted = Literal["auto", "ebpf", "ptrace"]
_Backend = Annotated[
    _Wanted, typer.Option(help="What watches; auto: ptrace, slower, where eBPF is not allowed.")
]


def profile(
    workload: _Workload = None,
    pid: _Pid = None,
    unit: _Unit = None,
    cgroup: _Cgroup = None,
    container: _Container = None,
    sources: _Sources = None,
    program: _Program = "",
    lasting: _For = None,
    output: _Output = None,
    until_stable: _QuietRounds = 0,
    max_rounds: _MostRounds = DEFAULT_MAX_ROUNDS,
    backend: _Backend = "auto",
) -> None:
    """Watch a service, and write down all that it uses.

    With a workload, the service runs twice under its drills, on a throw-away
    view of this machine: what it writes, renames or removes here is gone
    afterwards. What runs already is watched, and left alone.

    With --from, what another tool saw becomes a profile that says what it
    lacks: recordings of onejob-probe, logs of strace (those of -ff by --from
    for each, their folder, or their common beginning), texts of perf trace,
    OCI seccomp profiles, CSV and PML files of Process Monitor.

    \b
    Examples:
      onejob profile --workload services/nginx/workload.toml
      onejob profile -w my.toml --until-stable 2
      onejob profile --unit nginx.service --for 5m -o live.xml
      onejob profile --from strace.log
      onejob profile --from seccomp.json --program /usr/sbin/nginx
      onejob profile --from log.pml --program nginx.exe
    """
    running = (pid, unit, cgroup, container)
    if sum(value is not None for value in (workload, sources, *running)) != 1:
        raise typer.BadParameter(f"give one of {_HOW}")
    if lasting is not None and (workload or sources):
        raise typer.BadParameter("--for is for a service that runs already")
    if program and not sources:
        raise typer.BadParameter("--program goes with --from: others say their program themselves")
    if until_stable and not workload:
        raise typer.BadParameter("--until-stable is for a service with a workload")
    if backend == "ptrace" and not workload:
        raise typer.BadParameter("--backend ptrace is for a service with a workload: it is started")
    seconds = None if lasting is None else _seconds(lasting)
    with progress() as shown:
        if workload:
            patience = Patience(until_stable, max_rounds if until_stable else 1)
            taken = _take(workload, output, patience, backend, shown)
        elif sources:
            taken = import_profile(sources, program)
        else:
            with _interrupt() as stop:
                taken = attach_profile(_find(*running), seconds, stop, shown)
        target = output or Path(f"{taken.name}.profile.xml")
        write_atomically(target, profile_chunks(taken))
    _print_summary(taken)
    _print_next(taken, target)


def _take(
    path: Path, output: Path | None, patience: Patience, wanted: _Wanted, shown: Progress
) -> Profile:
    loaded = load_workload(path)
    backend, note = choose_backend(wanted)
    if note:
        err.print(f"onejob: {note}", markup=False, soft_wrap=True)
    folder = output.parent if output else Path()
    rescue = folder / f"{loaded.name}.recording.json"
    return take_profile(loaded, workload_text(path), shown, patience, rescue, backend)


def _find(pid: int | None, unit: str | None, cgroup: str | None, container: str | None) -> Running:
    if pid is not None:
        return by_pid(pid)
    if unit is not None:
        return by_unit(unit)
    return by_cgroup(cgroup) if cgroup is not None else by_container(container or "")


def _seconds(text: str) -> float:
    """``30s``, ``5m``, ``1h`` or a number of seconds."""
    found = re.fullmatch(r"(\d{1,6})([smh]?)", text)
    if not found or not int(found[1]):
        raise typer.BadParameter(f"--for {text!r} is not a time; for example: 30s, 5m, 1h")
    return float(int(found[1]) * _SECONDS[found[2]])


@contextmanager
def _interrupt() -> Iterator[Event]:
    """The first Ctrl-C sets the event, which ends the watch; the next ends the program."""
    stop = Event()
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


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
        out.print(f"note: {note}", markup=False, soft_wrap=True)


def _print_next(taken: Profile, target: Path) -> None:
    """What to do with it."""
    do = f"onejob build {target}"
    if taken.of_windows:
        do = f"onejob explain {target}"
    elif not taken.workload:
        do = f"onejob merge DRILLED.profile.xml {target} -o ALL.profile.xml"
    out.print(f"{target} written; next: {do}", markup=False, soft_wrap=True)
