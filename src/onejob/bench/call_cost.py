"""Benchmark ``call-cost``: what the probe's programs add to one system call, by the kind of call.

It needs no service and no load generator, and is far steadier than a ratio under load: two
processes make the calls that a web server makes for a request, in turns of less than a millisecond
on the same core, and one of them is watched. What the tracepoints themselves cost is not in it, for
while the probe works they cost every process; ``profile-cost`` has it.
"""

import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from onejob.base.linux import need_root
from onejob.base.process import end_group
from onejob.base.progress import Progress
from onejob.bench import call_loops
from onejob.bench.arithmetic import spread
from onejob.bench.promises import CALL_COST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.drive.probe import Probe
from onejob.model.errors import ServiceError

ROUNDS = 3  # each with new processes, whose memory lies elsewhere
PAIRS = 200  # of each kind of call, in each round
QUIET_SHARE = 4  # one in so many pairs counts: those that were disturbed least
TIME_LIMIT_S = 30.0
# A request's calls; the others are shown beside them.
IN_A_REQUEST = {
    **{"epoll_wait": 1, "recv": 1, "stat": 1, "open+close": 1, "fstat": 1, "setsockopt": 2},
    **{"writev": 1, "sendfile": 1, "write": 1, "getppid": 0, "pread64": 0},
}


Pair = tuple[float, float]


class Loops:
    """A connection to a process that times calls."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers: IO[str] = connection.makefile()

    def time(self, kind: str) -> float:
        """Nanoseconds for one call of this kind; ServiceError if the process is gone."""
        try:
            self._connection.sendall(f"{kind}\n".encode())
            return float(self._answers.readline())
        except (OSError, ValueError) as error:
            raise ServiceError(f"the process that times {kind} does not answer: {error}") from error


def measure_call_cost(_subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """What each kind of call takes longer while watched, and what that adds up to for a request."""
    need_root("watching a process")
    progress.stage("call-cost")
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS):
        progress.step(f"round {number + 1} of {ROUNDS}", number / ROUNDS)
        rounds.append(compare_calls(PAIRS))
    return (judge_calls(rounds),)


def compare_calls(count: int) -> dict[str, float]:
    """What watching adds to each kind of call, in nanoseconds: from `count` pairs of each."""
    pairs: dict[str, list[Pair]] = {kind: [] for kind in IN_A_REQUEST}
    with tempfile.TemporaryDirectory() as name, _both(Path(name)) as (watched, unwatched):
        for _ in range(count):
            for kind, known in pairs.items():
                known.append((watched.time(kind), unwatched.time(kind)))
    return {kind: find_difference(known) for kind, known in pairs.items()}


def find_difference(pairs: list[Pair]) -> float:
    """The median of first less second in the quickest pairs: what disturbs only ever adds."""
    quiet = sorted(pairs, key=sum)[: max(len(pairs) // QUIET_SHARE, 1)]
    return statistics.median(first - second for first, second in quiet)


def judge_calls(rounds: list[dict[str, float]]) -> Result:
    """Medians of what the rounds found to be added: to each kind of call, and to a request."""
    requests = spread(
        [sum(cost * IN_A_REQUEST[kind] for kind, cost in added.items()) for added in rounds]
    )
    values = [
        Value(name="least", value=requests.least, unit="ns"),
        Value(name="most", value=requests.most, unit="ns"),
    ]
    for kind in IN_A_REQUEST:
        median = spread([added[kind] for added in rounds]).median
        values.append(Value(name=kind, value=median, unit="ns"))
    return judge(CALL_COST, requests.median, values)


@contextmanager
def _both(folder: Path) -> Iterator[tuple[Loops, Loops]]:
    """A watched process and an unwatched one, both ready to time calls."""
    command = [sys.executable, call_loops.__file__, str(folder / "socket")]
    with socket.socket(socket.AF_UNIX) as listening, (folder / "output").open("wb") as output:
        listening.bind(command[-1])
        listening.listen()
        listening.settimeout(TIME_LIMIT_S)
        with (
            Probe(command, folder / "recording.json", output=output),
            _accepted(listening) as watched,
            _started(command, output),
            _accepted(listening) as unwatched,
        ):
            yield Loops(watched), Loops(unwatched)


@contextmanager
def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    try:
        connection = listening.accept()[0]
    except TimeoutError:
        raise ServiceError("the process that times calls does not start") from None
    connection.settimeout(TIME_LIMIT_S)
    with connection:
        yield connection


@contextmanager
def _started(command: list[str], output: IO[bytes]) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    try:
        yield
    finally:
        end_group(process)
