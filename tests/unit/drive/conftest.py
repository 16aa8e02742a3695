"""A service on this host as a Target, so that drills run without a container or guest."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onejob.base.process import end_group
from onejob.drive.drills import DrillResult
from onejob.drive.target import Exit, Process
from onejob.model.workload import Drill

SERVICE = Path(__file__).with_name("service.py")


class LocalTarget:
    """The Target of a plain process; `drills` are those that were announced."""

    network: Path | None = None

    def __init__(self, folder: Path, workers: int, faults: tuple[str, ...]) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.log = folder / "access.log"
        self._output = folder / "output"
        argv = [sys.executable, str(SERVICE), str(self.port), str(self.log), str(workers), *faults]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                argv, stdout=output, stderr=output, start_new_session=True
            )
        self.drills: list[str] = []

    def address(self, port: int) -> str:
        return f"127.0.0.1:{port}"

    def begin_drill(self, name: str) -> None:
        self.drills.append(name)

    def send_signal(self, number: int, worker: Process | None = None) -> None:
        os.kill(worker.pid if worker else self.process.pid, number)

    def processes(self) -> tuple[Process, ...]:
        found = [_process(int(name)) for name in os.listdir("/proc") if name.isdigit()]
        main = self.process.pid
        mine = [p for p in found if p is not None and main in (p.pid, p.parent)]
        return tuple(sorted(mine, key=lambda p: (p.pid != main, p.pid)))

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def contains(self, path: str, text: str) -> bool:
        return Path(path).exists() and text in Path(path).read_text()

    def output(self) -> str:
        return self._output.read_text()

    def exited(self) -> Exit | None:
        status = self.process.poll()
        if status is None:
            return None
        return Exit(status, None) if status >= 0 else Exit(None, -status)


def _process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else Process(pid, int(fields[1]), int(fields[19]), "python")


class Notes:
    """An Observer that remembers."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.results: list[DrillResult] = []

    def drill_begins(self, drill: Drill) -> None:
        self.begun.append(drill.name)

    def drill_ended(self, result: DrillResult) -> None:
        self.results.append(result)


StartService = Callable[..., LocalTarget]


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    started: list[LocalTarget] = []

    def start(*faults: str, workers: int = 2) -> LocalTarget:
        started.append(LocalTarget(tmp_path, workers, faults))
        return started[-1]

    yield start
    for target in started:
        if target.process.poll() is None:
            target.process.send_signal(signal.SIGCONT)
        end_group(target.process)


@pytest.fixture
def notes() -> Notes:
    return Notes()
