"""A command of the workload, run outside the service and judged by what the workload says of it."""

import re
import time

from onejob.drive.commands import Ran, run_outside
from onejob.drive.target import Target
from onejob.model.workload import Command, Workload, fill

# What load generators say of themselves: wrk, redis-benchmark, ab, pgbench.
_REQUESTS = re.compile(
    r"^\s*(\d+) requests (?:in|completed in) "
    r"|^Complete requests:\s+(\d+)"
    r"|^number of transactions actually processed: (\d+)",
    re.MULTILINE,
)


class StepFailedError(Exception):
    """A step of a drill did not do what it must."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}; {came}")
        self.expected, self.came = expected, came


class Runner:
    """Runs the commands of one workload against its running service."""

    def __init__(self, target: Target, workload: Workload) -> None:
        self._target, self._workload = target, workload
        self.addresses = {port: target.address(port) for port in workload.ports}

    def run_all(self, commands: tuple[Command, ...], nonce: str, within: float) -> int:
        """The number of requests that they say were answered; StepFailedError at the first failure.

        All of them together may take `within` seconds.
        """
        deadline = time.monotonic() + within
        return sum(self._run(command, nonce, deadline, within) for command in commands)

    def _run(self, command: Command, nonce: str, deadline: float, within: float) -> int:
        argv = [fill(word, self.addresses, nonce) for word in command.command]
        wanted = command.model_copy(
            update={
                "prints": self._filled(command.prints, nonce),
                "contains": self._filled(command.contains, nonce),
            }
        )
        left = max(deadline - time.monotonic(), 0.05)
        ran = run_outside(argv, self._target.network, left, self._workload.packages)
        return check_ran(wanted, argv, ran, within)

    def _filled(self, text: str | None, nonce: str) -> str | None:
        return None if text is None else fill(text, self.addresses, nonce)


def check_ran(command: Command, argv: list[str], ran: Ran, within: float) -> int:
    """The number of requests that a command says were answered; StepFailedError where it failed."""
    shown = " ".join(argv)
    if ran.status is None:
        raise StepFailedError(f"{shown!r} to end within {within:g} s", "it did not")
    if ran.status != command.status:
        came = f"it was {ran.status}\n{_last_lines(ran.errors or ran.output)}".rstrip()
        raise StepFailedError(f"exit status {command.status} of {shown!r}", came)
    came = f"it printed {_shorten(ran.output.strip())!r}"
    if command.prints is not None and ran.output.strip() != command.prints:
        raise StepFailedError(f"{shown!r} to print {command.prints!r}", came)
    if command.contains is not None and command.contains not in ran.output + ran.errors:
        came = f"{came} and the errors {_shorten(ran.errors.strip())!r}"
        raise StepFailedError(f"the output of {shown!r} to contain {command.contains!r}", came)
    return _count_requests(shown, ran.output)


def _count_requests(shown: str, output: str) -> int:
    counts = [int("".join(groups)) for groups in _REQUESTS.findall(output)]
    if counts and not sum(counts):
        # wrk ends with status 0 even when nothing was answered.
        raise StepFailedError(f"{shown!r} to have requests answered", "it says there were 0")
    return sum(counts)


def _last_lines(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-6:])


def _shorten(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."
