"""A service in the profiler's own sandbox: unwatched, under the probe, or with the recorder.

The same places as the profiler's two watched runs, for what is measured is the cost of profiling.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from onejob.base.accounts import ROOT
from onejob.base.natives import native_path
from onejob.base.process import find_tool
from onejob.drive.probe import Backend, Probe
from onejob.model.workload import Workload
from onejob.profiler import observe
from onejob.profiler.allocation_files import make_folder
from onejob.profiler.namespace import sandbox_of
from onejob.profiler.place import ProfiledService
from onejob.profiler.profile import find_program
from onejob.profiler.sandbox_folder import recordings_folder, run_folder

Place = Callable[[Workload], AbstractContextManager[ProfiledService]]


@contextmanager
def unwatched(workload: Workload) -> Iterator[ProfiledService]:
    """The service as it is; gone at the end."""
    with run_folder() as folder, _sandboxed(workload, folder, {}) as service:
        yield service


@contextmanager
def recorded(workload: Workload) -> Iterator[ProfiledService]:
    """The service with the memory recorder preloaded, its recordings dropped."""
    with (
        recordings_folder() as folder,
        _sandboxed(workload, folder, _recorder_settings(folder)) as service,
    ):
        yield service


@contextmanager
def recorded_in(workload: Workload, folder: Path) -> Iterator[ProfiledService]:
    """The service with the memory recorder preloaded, which leaves traces below `folder`."""
    settings = {**_recorder_settings(folder), "ONEJOB_RECORDER_TRACE": "yes"}
    with _sandboxed(workload, folder, settings) as service:
        yield service


@contextmanager
def probed_and_recorded(workload: Workload) -> Iterator[ProfiledService]:
    """The service with the memory recorder preloaded, under the eBPF probe."""
    with (
        recordings_folder() as folder,
        _probed(workload, folder, _recorder_settings(folder)) as service,
    ):
        yield service


def _recorder_settings(folder: Path) -> dict[str, str]:
    """What preloads the memory recorder, with a place in `folder` for its recordings."""
    recordings = folder / "keep" / "allocations"
    make_folder(recordings)
    recorder = str(native_path("libonejob_recorder.so"))
    return {"LD_PRELOAD": recorder, "ONEJOB_RECORDER_DIR": str(recordings)}


@contextmanager
def straced(workload: Workload) -> Iterator[ProfiledService]:
    """The service under strace, which writes every call down, to nowhere."""
    with run_folder() as folder, _sandboxed(workload, folder, {}, _strace()) as service:
        yield service


@contextmanager
def straced_counting(workload: Workload) -> Iterator[ProfiledService]:
    """The service under strace, which only counts."""
    with run_folder() as folder, _sandboxed(workload, folder, {}, _strace("-c")) as service:
        yield service


def _strace(*options: str) -> list[str]:
    # -D: the service stays the process that was started, its tracer is another one.
    return [find_tool("strace", "strace"), "-D", "-f", *options, "-o", "/dev/null"]


@contextmanager
def _sandboxed(
    workload: Workload, folder: Path, settings: Mapping[str, str], tracer: Sequence[str] = ()
) -> Iterator[ProfiledService]:
    """The service in its sandbox, under `tracer`, with `settings` added to its environment."""
    words = _words(workload, folder, settings)
    other = observe.other_identity(workload)
    words += ["--user", other.text()] if other != ROOT else []
    command = [*tracer, *service_command(workload)]
    environment = observe.service_environment(workload)
    log = folder / "output"
    with (
        log.open("wb") as output,
        observe.started(words, command, environment, output) as (process, _sandbox),
        observe.network_of(process.pid) as network,
    ):
        exited = partial(observe.exit_of, process)
        yield ProfiledService(process.pid, network, exited, lambda _drill: None, log)


@contextmanager
def probed(workload: Workload) -> Iterator[ProfiledService]:
    """The service under the eBPF probe, its recording dropped."""
    with run_folder() as folder, _probed(workload, folder, {}) as service:
        yield service


@contextmanager
def _probed(
    workload: Workload, folder: Path, settings: Mapping[str, str], backend: Backend = "ebpf"
) -> Iterator[ProfiledService]:
    log = folder / "output"
    with log.open("wb") as output:
        probe = Probe(
            service_command(workload),
            folder / "keep" / "recording.json",
            output=output,
            prefix=[*_words(workload, folder, settings), "--"],
            environment=observe.service_environment(workload),
            backend=backend,
        )
        with sandbox_of(probe.observer), probe, observe.network_of(probe.pid) as network:
            yield ProfiledService(probe.pid, network, probe.exited, probe.begin_drill, log)


def _words(workload: Workload, folder: Path, settings: Mapping[str, str]) -> list[str]:
    words = observe.sandbox_words(workload, folder)
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    return words


@contextmanager
def traced(workload: Workload) -> Iterator[ProfiledService]:
    """As `probed`, by ptrace."""
    with run_folder() as folder, _probed(workload, folder, {}, "ptrace") as service:
        yield service


def service_command(workload: Workload) -> list[str]:
    """The command with its program's whole path."""
    return [find_program(workload.command[0]), *workload.command[1:]]
