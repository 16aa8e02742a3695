"""The effects of a drill: looked for again and again until they hold or time is over."""

import http.client
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from onejob.base.linux import in_network
from onejob.drive.judged import Runner, StepFailedError
from onejob.drive.target import Process, Target
from onejob.drive.web import HeldRequest, ask, open_socket, split_url
from onejob.model.workload import Expect, FileCheck, fill

POLL_S = 0.02
REQUEST_TIMEOUT_S = 5.0
SHORTEST_RUN_S = 1.0  # a command that is begun just before time is over
TAKEN_WITHIN_S = 2.0
TAKEN_BLINDLY_S = 0.3  # where the service's side cannot be seen: a guest accepts in far less

_ESTABLISHED = "01"


def fresh_nonce() -> str:
    """A word that was never in any file before."""
    return secrets.token_hex(8)


class Effects:
    """What one drill must bring about; made before the drill acts, to know how it was."""

    def __init__(self, target: Target, expect: Expect, runner: Runner, nonce: str) -> None:
        self._target, self._expect, self._runner, self._nonce = target, expect, runner, nonce
        self._before = target.processes() if expect.workers else ()

    def await_all(self) -> int:
        """The number of requests that were answered meanwhile; StepFailedError after `within`."""
        deadline = time.monotonic() + self._expect.within
        requests = 0
        while True:
            # Only a request that carries it anew can be told from the one before.
            nonce = fresh_nonce() if self._expect.request else self._nonce
            try:
                requests += self._ask(nonce)
                left = max(deadline - time.monotonic(), SHORTEST_RUN_S)
                requests += self._runner.run_all(self._expect.run, nonce, left)
                self._look(nonce)
                return requests
            except StepFailedError as failure:
                if time.monotonic() > deadline:
                    expected = f"{failure.expected} within {self._expect.within:g} s"
                    raise StepFailedError(expected, failure.came) from failure
            time.sleep(POLL_S)

    def _ask(self, nonce: str) -> int:
        if self._expect.request is None:
            return 0
        url = fill(self._expect.request, self._runner.addresses, nonce)
        expected = f"an answer below 500 from {url}"
        try:
            answer = ask(self._target.network, url, REQUEST_TIMEOUT_S)
        except (OSError, http.client.HTTPException) as error:
            raise StepFailedError(expected, f"there was none: {error!r}") from error
        if answer.status >= 500:
            raise StepFailedError(expected, f"it was {answer.status}")
        return 1

    def _look(self, nonce: str) -> None:
        if self._expect.workers:
            now = self._target.processes()
            check_workers(self._expect.workers, self._before, now)
        for check in self._expect.files:
            self._check_file(check, nonce)

    def _check_file(self, check: FileCheck, nonce: str) -> None:
        path = check.path
        if check.exists is not None and self._target.exists(path) != check.exists:
            expected, came = ("exist", "does not") if check.exists else ("be gone", "is there")
            raise StepFailedError(f"{path} to {expected}", f"it {came}")
        for text, wanted in ((check.contains, True), (check.lacks, False)):
            if text is None:
                continue
            found = self._target.contains(path, fill(text, self._runner.addresses, nonce))
            if found != wanted:
                expected = f"{path} to {'contain' if wanted else 'lack'} {text!r}"
                there = "" if self._target.exists(path) else " (there is no such file)"
                raise StepFailedError(
                    expected, f"it does {'' if found else 'not'}".rstrip() + there
                )


def check_workers(wanted: str, before: Sequence[Process], now: Sequence[Process]) -> None:
    """StepFailedError unless the main process's children are as `wanted` says.

    "renewed": as many as before and all new; "replaced": all new, in a pool whose size changes;
    "restored": one has gone, and one has come for it; "same": none has gone or come.
    """
    if not before or not now or _identity(before[0]) != _identity(now[0]):
        raise StepFailedError("the main process to be the same", "it is another or gone")
    old, new = _workers(before), _workers(now)
    if wanted == "same":
        if old != new:
            raise StepFailedError(f"the same workers {_pids(old)}", f"they are {_pids(new)}")
    elif wanted == "restored":
        if len(old - new) != 1 or len(new - old) != 1:
            raise StepFailedError(f"one of the workers {_pids(old)} anew", f"they are {_pids(new)}")
    elif not old:
        raise StepFailedError("workers to be renewed", "there were none before")
    elif old & new or not new or (wanted == "renewed" and len(new) != len(old)):
        number = "as many new ones" if wanted == "renewed" else "new ones"
        expected = f"workers {_pids(old)} to be replaced by {number}"
        raise StepFailedError(expected, f"they are {_pids(new)}")


def last_worker(processes: Sequence[Process]) -> Process:
    """The one that the main process forked last; StepFailedError where there is none."""
    workers = [each for each in processes if each.parent == processes[0].pid]
    if not workers:
        raise StepFailedError("a worker to be signalled", "the main process has no child")
    return max(workers, key=lambda worker: (worker.start, worker.pid))


def _identity(process: Process) -> tuple[int, int]:
    return process.pid, process.start


def _workers(processes: Sequence[Process]) -> set[tuple[int, int]]:
    main = processes[0].pid
    return {_identity(process) for process in processes if process.parent == main}


def _pids(workers: set[tuple[int, int]]) -> str:
    return ", ".join(str(pid) for pid, _ in sorted(workers)) or "none"


def ports_in_use(target: Target, ports: Sequence[int]) -> list[int]:
    """Those of `ports` where somebody still accepts connections."""
    return [port for port in ports if _accepts(target, port)]


def _accepts(target: Target, port: int) -> bool:
    place = split_url(f"http://{target.address(port)}/")
    try:
        with open_socket(target.network, place.host) as connection:
            connection.settimeout(1.0)
            connection.connect((place.host, place.port))
    except OSError:
        return False
    return True


def await_held(request: HeldRequest, network: Path | None) -> None:
    """Return once the service has taken the request's first half, as far as that can be seen.

    A connection that still waits in the accept queue would be reset, not finished, by a service
    that closes its listening socket. A queued one has no inode yet in /proc/net/tcp (proc(5)).
    """
    ours, theirs = request.name()
    deadline = time.monotonic() + TAKEN_WITHIN_S
    while time.monotonic() < deadline:
        taken = in_network(network, lambda: _taken(ours, theirs))
        if taken is None:
            time.sleep(TAKEN_BLINDLY_S)
            return
        if taken:
            return
        time.sleep(POLL_S)


def _taken(ours: int, theirs: int) -> bool | None:
    """Whether the service has accepted and read that connection; None where it is not here."""
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, remote, state, queues, _, _, _, _, inode, *_ = line.split()
            ends = int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)
            if ends == (theirs, ours) and state == _ESTABLISHED:
                return inode != "0" and int(queues.partition(":")[2], 16) == 0
    return None
