"""A client of onejob-probe: has it watch a command, and speaks its JSON lines."""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple, Self

from onejob.base.accounts import ROOT, Identity
from onejob.base.natives import native_path
from onejob.base.process import await_end, end_group, signal_group
from onejob.drive.target import Exit
from onejob.model.errors import LacksError, OnejobError, ServiceError
from onejob.model.syscalls import call_number

START_TIMEOUT_S = 30.0  # loading the eBPF programs on a slow, busy machine
DRILL_TIMEOUT_S = 10.0
FINISH_TIMEOUT_S = 60.0
SAVE_TIMEOUT_S = 10.0  # a killed probe's keeper writes the recording

Backend = Literal["ebpf", "ptrace"]
_SLOW = "it runs several times slower"

_END = {"error": "onejob-probe ended without a word"}


class ObserverLostError(ServiceError):
    """The probe ended before it was told to; what it saw until then is in its recording."""


class Observer:
    """onejob-probe at work, and its JSON lines; use it as a context manager, or call close().

    `words` are its command and `recording` what it will write. `observer` is its pid.
    """

    def __init__(self, words: Sequence[str], recording: Path, **options: Any) -> None:
        self._recording = recording
        self._exit: Exit | None = None
        self.started_at = 0.0  # time.monotonic(), when the watch had begun
        self._replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            **options,
        )
        self.observer = self._process.pid
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def begin_drill(self, name: str) -> None:
        """From now on, what happens is counted for drill `name`."""
        self._send({"drill": name})
        self._await("drill", DRILL_TIMEOUT_S)

    def snapshot(self) -> Path:
        """Have what was seen until now written, while the watch goes on; where it is."""
        self._send({"snapshot": True})
        self._await("snapshot", FINISH_TIMEOUT_S)
        return self._recording

    def finish(self) -> Path:
        """End what is left of the command and have the recording written; where it is."""
        self._send({"finish": True})
        self._await("recorded", FINISH_TIMEOUT_S)
        self.close()
        return self._recording

    def close(self) -> None:
        """End the probe, which ends the command; SIGKILL only where it takes too long.

        A probe that was killed leaves the command running; its keeper saves what was seen, and
        holds the other end of our pipe until it has.
        """
        self._close_stdin()
        if self._process.returncode is None:
            signal_group(self._process, signal.SIGTERM)
            await_end(self._process, 5.0)
        signal_group(self._process, signal.SIGKILL)
        self._thread.join(SAVE_TIMEOUT_S)
        end_group(self._process)

    def _await_first(self, key: str) -> dict[str, Any]:
        """What it says first, which has `key`; without that, it is ended."""
        try:
            return self._await(key, START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    def _send(self, message: dict[str, Any]) -> None:
        try:
            os.write(self._stdin(), json.dumps(message).encode() + b"\n")
        except (OSError, ValueError) as error:
            raise ServiceError(f"onejob-probe does not listen any more: {error}") from error

    def _stdin(self) -> int:
        assert self._process.stdin is not None  # a PIPE, above
        return self._process.stdin.fileno()

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _await(self, key: str, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while True:
            try:
                reply = self._replies.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                what = f"onejob-probe did not say {key!r} within {timeout:g} s"
                raise ServiceError(what) from None
            if "error" in reply:
                raise self._error(reply)
            if key in reply:
                return reply

    def _error(self, reply: dict[str, Any]) -> OnejobError:
        try:
            status: int | None = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            status = None
        kind = LacksError if status in (3, 127) else ServiceError
        return kind(str(reply["error"]), str(reply.get("hint", "")))

    def _read(self) -> None:
        assert self._process.stdout is not None  # a PIPE, above
        for line in self._process.stdout:
            try:
                reply = json.loads(line)
            except ValueError:
                reply = {"error": f"onejob-probe said {line[:200]!r}"}
            if "started" in reply or "attached" in reply:
                self.started_at = time.monotonic()
            if "exited" in reply:
                ended = reply["exited"]
                self._exit = Exit(ended.get("status"), ended.get("signal"))
            self._replies.put(reply)
        self._replies.put(_END)


class Probe(Observer):
    """A command that runs under the probe.

    `output` is where the command's stdout and stderr go (a descriptor); `prefix` is put before
    the probe itself, e.g. to enter a namespace first. `identity` is the command's, not the probe's.
    `pid` is the command's, `observer` the probe's own, `processor` where it is kept, if it is.
    """

    def __init__(
        self,
        command: Sequence[str],
        recording: Path,
        *,
        output: IO[Any] | int,
        first_drill: str = "start",
        prefix: Sequence[str] = (),
        directory: str = "/",
        environment: dict[str, str] | None = None,
        identity: Identity = ROOT,
        pass_fds: Sequence[int] = (),
        backend: Backend = "ebpf",
        settling: Sequence[str] = (),
        standard_input: Path | None = None,
    ) -> None:
        words = [*prefix, str(native_path("onejob-probe")), "record", "--bare"]
        words += ["--output", str(recording), "--first-drill", first_drill]
        words += ["--backend", backend]
        if standard_input:
            words += ["--input", str(standard_input)]
        if settling:
            words += ["--settling", ",".join(str(call_number(name)) for name in settling)]
        words += [*(["--user", identity.text()] if identity != ROOT else []), "--", *command]
        options = {"stderr": output, "cwd": directory, "env": environment, "pass_fds": pass_fds}
        super().__init__(words, recording, **options)
        started = self._await_first("started")
        self.pid = int(started["started"])
        # The tracer keeps what it watches to one processor, and hides that from it.
        self.processor: int | None = started.get("processor")

    def exited(self) -> Exit | None:
        """How the command's main process ended; None while it runs."""
        if self._exit is None and self._process.poll() is not None:
            self._thread.join(SAVE_TIMEOUT_S)
            if self._exit is None:
                raise ObserverLostError(
                    f"the observer, onejob-probe, ended with status {self._process.returncode}",
                    f"what it saw until then is in {self._recording}",
                )
        return self._exit


class Chosen(NamedTuple):
    """What the probe watches with; `note` says what the user should know of that."""

    backend: Backend
    note: str = ""


def choose_backend(wanted: Literal["auto", "ebpf", "ptrace"]) -> Chosen:
    """What is wanted, if this machine allows it; ``auto``: eBPF where it works, else ptrace.

    LacksError where it does not.
    """
    said = _ask_check()
    if wanted != "ptrace" and said.get("ebpf"):
        return Chosen("ebpf")
    if wanted == "ebpf":
        raise _unusable(said)
    if not said.get("ptrace"):
        raise LacksError(
            f"the observer cannot work: {_missing(said)}; nor is ptrace allowed",
            f"{said.get('hint', '')}, or allow ptrace (kernel.yama.ptrace_scope below 3)",
        )
    if wanted == "ptrace":
        return Chosen("ptrace", f"watching by ptrace: {_SLOW}")
    return Chosen("ptrace", f"eBPF cannot be used: {_missing(said)}; watching by ptrace: {_SLOW}")


def check_probe() -> dict[str, Any]:
    """What this kernel allows the probe, as it says itself; LacksError where eBPF cannot work."""
    said = _ask_check()
    if not said.get("ebpf"):
        raise _unusable(said)
    return said


def _ask_check() -> dict[str, Any]:
    done = subprocess.run(
        [native_path("onejob-probe"), "check"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
    )
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = {"error": done.stderr.strip() or "onejob-probe check printed no JSON"}
    return said


def _missing(said: dict[str, Any]) -> str:
    return str(said.get("error") or said.get("missing") or "eBPF is not usable here")


def _unusable(said: dict[str, Any]) -> LacksError:
    hint = str(said.get("hint", ""))
    if said.get("ptrace"):
        hint += f"{'; or ' if hint else ''}profile with --backend ptrace: {_SLOW}"
    return LacksError(f"the observer cannot work: {_missing(said)}", hint)
