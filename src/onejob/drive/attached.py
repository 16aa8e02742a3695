"""onejob-probe watching a service that somebody else started, and that is left alone."""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from onejob.base.natives import native_path
from onejob.drive.probe import FINISH_TIMEOUT_S, Observer
from onejob.model.errors import InputError, ServiceError


class Attached(Observer):
    """The processes of `pids` with their descendants, or the cgroup whose folder is `cgroup`.

    `describe`: the recording is for another machine, and tells what lies at the paths here.
    """

    def __init__(
        self, pids: Sequence[int], cgroup: Path | None, recording: Path, *, describe: bool = False
    ) -> None:
        words = [str(native_path("onejob-probe")), "attach", "--output", str(recording)]
        words += [] if describe else ["--bare"]
        words += (
            ["--cgroup", str(cgroup)] if cgroup else [f for p in pids for f in ("--pid", str(p))]
        )
        super().__init__(words, recording, stderr=subprocess.DEVNULL)
        try:
            self.pids: tuple[int, ...] = tuple(self._await_first("attached")["attached"])
        except ServiceError as error:  # the probe refuses what it cannot watch
            raise InputError(error.what, error.hint) from error

    def ended(self) -> bool:
        """Whether the watch is over: the service has ended, or the probe was killed."""
        return self._process.poll() is not None

    def finish(self) -> Path:
        """Have the recording written; where it is. It may be: the probe ends with the service."""
        with suppress(ServiceError):
            self._send({"finish": True})
        self._await("recorded", FINISH_TIMEOUT_S)
        self.close()
        return self._recording
