"""A running image as a drive Target: what is the same in a container and a guest."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from onejob.drive.target import Exit, Process
from onejob.model.errors import ServiceError
from onejob.model.jsonfile import parse_json
from onejob.model.observations import Observations
from onejob.model.syscalls import call_name
from onejob.system.console import Console
from onejob.system.control import REQUEST_TIMEOUT_S, Control

_LOOK_S = 0.2
START_TIMEOUT_S = 120.0  # a cold guest without hardware support on a busy machine
LINGER_S = 10.0
NO_SUCH_FILE = "No such file or directory"


class Runner(Protocol):
    """The outside process that is the instance: runc, or QEMU."""

    def ended(self) -> int | None:
        """Its exit status, None while it runs."""


@dataclass(frozen=True)
class Denial:
    """A system call that the policy refused to `program`, `count` times.

    `role` and `phase` say which row of the call matrix it was; empty where there is none. `args`
    are the words that it was called with at first.
    """

    call: str
    program: str
    count: int
    role: str = ""
    phase: str = ""
    args: tuple[int, ...] = field(default=(), compare=False)


class Instance:
    """One running image. Subclasses say where it is reached."""

    def __init__(
        self,
        name: str,
        runner: Runner,
        control: Control,
        console: Console,
        addresses: dict[int, str],
        network: Path | None,
    ) -> None:
        self.name = name
        self.control = control
        self.console = console
        self._runner = runner
        self._addresses = addresses
        self._network = network
        self.data: Path | None = None  # a folder or a disk image, where the service has data
        self._main = 0
        self._ended_at = 0.0

    @property
    def network(self) -> Path | None:
        """The network namespace from which `address` is reached."""
        return self._network

    def address(self, port: int) -> str:
        """``host:port`` where `port` of the service is reached."""
        return self._addresses[port]

    def await_started(self, timeout: float = START_TIMEOUT_S) -> None:
        """Return when process 1 has started the service; ServiceError where it could not."""
        deadline = time.monotonic() + timeout
        event = None
        # The channel's end may be held by others (the probe), so the runner is looked at, too.
        while event is None and time.monotonic() < deadline and not self.control.ended:
            gone = self._runner.ended() is not None
            event = self.control.wait_event("started", _LOOK_S)
            if gone:
                break
        if event is None:
            self.console.drain(1.0)
            late = time.monotonic() >= deadline
            why = f"did nothing for {timeout:g} s" if late else "ended"
            raise ServiceError(
                f"{self.name} was not started: its system {why}\n{self.console.last_lines()}"
            )
        self._main = int(event["pid"])

    def ask(self, do: str, timeout: float = REQUEST_TIMEOUT_S, **fields: Any) -> Any:
        """Ask process 1; at once an error where the system is gone (see await_started)."""
        if self._runner.ended() is not None:
            raise ServiceError(f"{do}: the system of {self.name} has ended")
        return self.control.request(do, timeout, **fields)

    def begin_drill(self, name: str) -> None:
        """Nothing is to be done: nobody counts by drill here."""

    def send_signal(self, number: int, worker: Process | None = None) -> None:
        """Signal the main process, or a `worker` of it."""
        self.ask("signal", signal=number, **({"pid": worker.pid} if worker else {}))

    def processes(self) -> tuple[Process, ...]:
        """All processes of the service, the main process first."""
        found = [_process(entry) for entry in self.ask("processes")]
        return tuple(sorted(found, key=lambda process: (process.pid != self._main, process.pid)))

    def rename(self, old: str, new: str) -> None:
        """Rename inside the instance."""
        fields: dict[str, Any] = {"from": old, "to": new}
        self.ask("rename", **fields)

    def remove(self, path: str) -> None:
        """Remove inside the instance."""
        self.ask("remove", path=path)

    def exists(self, path: str) -> bool:
        """Whether the service would find `path`."""
        return bool(self.ask("exists", path=path))

    def contains(self, path: str, text: str) -> bool:
        """Whether the file at `path` has `text` in it."""
        try:
            return bool(self.ask("contains", path=path, text=text, timeout=60.0))
        except ServiceError as error:
            if NO_SUCH_FILE in error.what:
                return False
            raise

    def output(self) -> str:
        """The console: of process 1, the service and, in a guest, the kernel."""
        return self.console.text()

    def exited(self) -> Exit | None:
        """How the main process ended; None while it or its system runs.

        ServiceError where the whole system ended without a word (a panic, for instance).
        """
        gone = self._runner.ended() is not None
        if gone:
            self.control.wait_event("exited", 1.0)  # the last line may still be on its way
        ended = self.control.events("exited")
        if not ended:
            if gone:
                raise self._ended_without_word()
            return None
        if not gone and self._lingers():
            return None
        return Exit(ended[0].get("status"), ended[0].get("signal"))

    def _lingers(self) -> bool:
        """Whether the system around the ended service may still be about to go."""
        self._ended_at = self._ended_at or time.monotonic()
        return time.monotonic() - self._ended_at < LINGER_S

    def _ended_without_word(self) -> ServiceError:
        self.console.drain(1.0)
        status = self._runner.ended()
        return ServiceError(
            f"the system of {self.name} ended (status {status}) without its service's ending\n"
            f"{self.console.last_lines()}"
        )

    def observations(self) -> Observations:
        """What process 1 has observed; ServiceError where it is gone."""
        text = json.dumps(self.ask("observations"))
        return parse_json(text, Observations, f"observations of {self.name}")

    def denials(self) -> tuple[Denial, ...]:
        """What the policy refused so far; from the events where process 1 is gone already."""
        try:
            found = self.ask("denials")
        except ServiceError:
            found = self.control.events("denied")
        return merge_denials(found)


def merge_denials(found: Any) -> tuple[Denial, ...]:
    """One Denial for each program, role, phase and call, the counts added."""
    counts: dict[tuple[str, str, str, str], int] = {}
    firsts: dict[tuple[str, str, str, str], tuple[int, ...]] = {}
    for entry in found:
        role, phase = str(entry.get("role", "")), str(entry.get("phase", ""))
        key = (str(entry["program"]), role, phase, call_name(int(entry["call"])))
        counts[key] = counts.get(key, 0) + int(entry.get("count", 1))
        firsts.setdefault(key, tuple(int(word) for word in entry.get("args", ())))
    return sorted_denials(
        Denial(key[3], key[0], count, key[1], key[2], firsts[key]) for key, count in counts.items()
    )


def sorted_denials(denials: Iterable[Denial]) -> tuple[Denial, ...]:
    """By program, row and call."""
    return tuple(sorted(denials, key=lambda d: (d.program, d.role, d.phase, d.call)))


def _process(entry: dict[str, Any]) -> Process:
    return Process(
        int(entry["pid"]), int(entry["ppid"]), int(entry["start"]), str(entry["program"])
    )


OnText = Callable[[str], None]
