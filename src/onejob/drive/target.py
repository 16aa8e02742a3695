"""What a drill needs of a running service, wherever it runs: host, container or guest."""

from pathlib import Path
from typing import NamedTuple, Protocol


class Process(NamedTuple):
    """A process of the service; `start` (clock ticks since boot) tells a reused pid apart."""

    pid: int
    parent: int
    start: int
    program: str


class Exit(NamedTuple):
    """How the main process ended: with a status, or by a signal."""

    status: int | None
    signal: int | None

    def __str__(self) -> str:
        return f"status {self.status}" if self.signal is None else f"signal {self.signal}"


class Target(Protocol):
    """A started service. Errors of the place itself are OnejobErrors."""

    @property
    def network(self) -> Path | None:
        """The network namespace from which its addresses are reached; None: this one."""

    def address(self, port: int) -> str:
        """``host:port`` where `port` of the service is reached."""

    def begin_drill(self, name: str) -> None:
        """From now on, what happens belongs to drill `name`."""

    def send_signal(self, number: int, worker: Process | None = None) -> None:
        """Signal the main process, or a `worker` of it."""

    def processes(self) -> tuple[Process, ...]:
        """All processes of the service, the main process first."""

    def rename(self, old: str, new: str) -> None:
        """Rename where the service's files are."""

    def remove(self, path: str) -> None:
        """Remove a file where the service's files are."""

    def exists(self, path: str) -> bool:
        """Whether the service would find `path`."""

    def contains(self, path: str, text: str) -> bool:
        """Whether the file at `path` has `text` in it; False where there is no such file."""

    def output(self) -> str:
        """What the service has printed so far."""

    def exited(self) -> Exit | None:
        """How the main process ended; None while it runs."""
