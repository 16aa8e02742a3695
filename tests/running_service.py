"""A service that somebody else started, to be watched while it runs (workload_attach.c)."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL

TIMES = 23  # calls of getppid that each of its threads makes
WAITING = 6  # threads that wait for a byte
LATER = 2  # started with the main thread's byte: a child and a thread


def compile_service(folder: Path) -> Path:
    """The program."""
    program = folder / "attached"
    source = Path(__file__).parent / "native" / "workload_attach.c"
    options = ["-O1", "-Wall", "-Werror", "-pthread", "-o", str(program)]
    subprocess.run(["gcc", *options, str(source)], check=True, timeout=60)
    return program


def is_running(pid: int) -> bool:
    """Whether it is there, and not only not yet collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Running:
    """The service while it runs; `pids` are its processes, the main one first."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log
        self.pid = process.pid

    @property
    def pids(self) -> list[int]:
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [self.pid, *(int(pid) for task in tasks for pid in task.read_text().split())]

    def work(self) -> None:
        """Have every thread make its calls."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"x" * WAITING)
        self.process.stdin.flush()
        for _ in range(WAITING + LATER):
            assert self.process.stdout.readline() == b"done\n"

    def all_running(self) -> bool:
        return all(is_running(pid) for pid in self.pids)


@contextmanager
def running(
    program: Path, folder: Path, before: Callable[[], None] | None = None
) -> Iterator[Running]:
    """The service, ready; at the end every process of it is killed by its number."""
    log = folder / "service.log"
    process = subprocess.Popen(
        [program, log], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=before
    )
    service = Running(process, log)
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        yield service
    finally:
        end(service)
        process.stdin.close()
        process.stdout.close()


def end(service: Running) -> None:
    """Kill every process of the service."""
    for pid in reversed(service.pids if is_running(service.pid) else []):
        with suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)
    service.process.wait()
