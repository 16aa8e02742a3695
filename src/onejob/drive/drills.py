"""The drills: each named stretch of the service's life, step by step, effects checked.

``run_drills`` is the whole way. Steps are always in the order that ``model.workload.Drill`` gives;
``effects`` has the checks of what must have come of them.
"""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from onejob.drive.effects import Effects, await_held, fresh_nonce, last_worker, ports_in_use
from onejob.drive.judged import Runner, StepFailedError
from onejob.drive.ready import with_output
from onejob.drive.target import Target
from onejob.drive.web import HeldRequest, begin_request
from onejob.model.errors import OnejobError, ServiceError
from onejob.model.profile import Phase
from onejob.model.workload import SIGNALS, Drill, Workload, fill

POLL_S = 0.01
REQUEST_TIMEOUT_S = 10.0
HELD_S = 0.25
# After a signal a service goes on when its effects are seen already: haproxy executes itself, and
# the next signal in that moment would end it, or be lost.
AFTERMATH_S = 0.5


@dataclass(frozen=True)
class DrillResult:
    """What came of one drill. `requests` are those known to be answered in it."""

    name: str
    phase: Phase
    seconds: float
    passed: bool
    requests: int = 0
    failure: str = ""


class Observer(Protocol):
    """Is told of each drill; may look at the service at these moments."""

    def drill_begins(self, drill: Drill) -> None:
        """Nothing of `drill` has happened yet."""

    def drill_ended(self, result: DrillResult) -> None:
        """The drill is over, passed or not. After the drill stop the service is gone."""


def run_drills(
    target: Target,
    workload: Workload,
    observer: Observer,
    another_round: Callable[[], bool] = lambda: False,
) -> tuple[DrillResult, ...]:
    """All drills of `workload` on a service that is ready, the drill stop last.

    Those between start and stop are run again for as long as `another_round` says so.
    ServiceError at the first that fails (the observer has its result by then): drill, step, what
    was expected, what came, the last output.
    """

    def run(drill: Drill) -> DrillResult:
        return _run_drill(target, workload, drill, observer)

    start, *between, stop = workload.drills()
    results = [run(drill) for drill in (start, *between)]
    while another_round():
        results += [run(drill) for drill in between]
    return (*results, run(stop))


def _run_drill(target: Target, workload: Workload, drill: Drill, observer: Observer) -> DrillResult:
    observer.drill_begins(drill)
    begun = time.monotonic()
    phase: Phase = "boot" if drill.name == "start" else "serve"
    run = _Run(target, workload, drill)
    try:
        run.all_steps()
    except OnejobError as error:
        seconds = time.monotonic() - begun
        observer.drill_ended(
            DrillResult(drill.name, phase, seconds, False, run.requests, error.what)
        )
        raise
    finally:
        run.drop()
    seconds = time.monotonic() - begun
    result = DrillResult(drill.name, phase, seconds, True, run.requests)
    observer.drill_ended(result)
    return result


class _Run:
    """One drill while it runs."""

    def __init__(self, target: Target, workload: Workload, drill: Drill) -> None:
        self._target, self._workload, self._drill = target, workload, drill
        self._runner = Runner(target, workload)
        self._nonce = fresh_nonce()
        self._held: HeldRequest | None = None
        self.requests = 0

    def all_steps(self) -> None:
        """The drill from beginning to end; ServiceError at the first step that fails."""
        self._step("begin", self._begin)
        effects = Effects(self._target, self._drill.expect, self._runner, self._nonce)
        self._step("in_flight begins", self._begin_in_flight)
        self._step("inside", self._inside)
        self._step("signal", self._signal)
        self._step("run", self._commands)
        self._step("in_flight completes", self._complete_in_flight)
        if self._drill.name == "stop":
            self._step("stop", self._await_exit)
            return
        self._step("expect", lambda: self._add(effects.await_all()))
        if self._drill.signal is not None:
            time.sleep(AFTERMATH_S)
        self._step("end", self._still_alive)

    def drop(self) -> None:
        """Give up what is still open."""
        if self._held is not None:
            self._held.drop()

    def _step(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except StepFailedError as failure:
            text = f"expected {failure.expected}; {failure.came}"
            raise self._error(name, text) from failure
        except ServiceError as error:
            raise self._error(name, error.what) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._error(name, f"{type(error).__name__}: {error}") from error

    def _error(self, step: str, text: str) -> ServiceError:
        what = f"drill {self._drill.name}, {step}: {text}"
        ended = self._target.exited()
        if ended is not None and self._drill.name != "stop":
            what += f"\n{self._workload.name} ended with {ended} during this drill"
        return ServiceError(with_output(what, self._target, self._workload.name))

    def _add(self, requests: int) -> None:
        self.requests += requests

    def _begin(self) -> None:
        # The drill start is what runs from the very beginning; there is no moment to announce it.
        if self._drill.name != "start":
            self._target.begin_drill(self._drill.name)

    def _begin_in_flight(self) -> None:
        if self._drill.in_flight is None:
            return
        url = fill(self._drill.in_flight.http, self._runner.addresses, self._nonce)
        self._held = begin_request(self._target.network, url, REQUEST_TIMEOUT_S)
        await_held(self._held, self._target.network)

    def _inside(self) -> None:
        for verb, *paths in self._drill.inside:
            if verb == "rename":
                self._target.rename(paths[0], paths[1])
            elif verb == "remove":
                self._target.remove(paths[0])

    def _signal(self) -> None:
        name = self._drill.signal
        if self._drill.name == "stop":
            name = self._workload.stop.signal
        if name is None:
            return
        worker = last_worker(self._target.processes()) if self._drill.to == "worker" else None
        self._target.send_signal(SIGNALS[name], worker)

    def _commands(self) -> None:
        drill = self._drill
        self._add(self._runner.run_all(drill.run, self._nonce, drill.within))

    def _complete_in_flight(self) -> None:
        wanted = self._drill.in_flight
        if self._held is None or wanted is None:
            return
        # Completed at once it could still be answered by a service that is about to drop it.
        time.sleep(HELD_S)
        expected = f"the request in flight to be answered with {wanted.status}, whole"
        try:
            answer = self._held.complete(min(REQUEST_TIMEOUT_S, self._drill.within))
        except (OSError, http.client.HTTPException) as error:
            raise StepFailedError(expected, f"it was not: {describe(error)}") from error
        if answer.status != wanted.status:
            raise StepFailedError(expected, f"the answer was {answer.status}")
        self._add(1)

    def _await_exit(self) -> None:
        stop = self._workload.stop
        deadline = time.monotonic() + stop.within
        expected = f"{self._workload.name} to end with status {stop.status}"
        while (ended := self._target.exited()) is None:
            if time.monotonic() > deadline:
                came = f"it still runs {stop.within:g} s after {stop.signal}"
                raise StepFailedError(expected, came)
            time.sleep(POLL_S)
        if ended.status != stop.status:
            raise StepFailedError(expected, f"it ended with {ended}")
        taken = ports_in_use(self._target, self._workload.ports)
        if taken:
            ports = ", ".join(str(port) for port in taken)
            raise StepFailedError("every port to be free after the end", f"{ports} still answers")

    def _still_alive(self) -> None:
        ended = self._target.exited()
        if ended is not None:
            raise StepFailedError(f"{self._workload.name} to go on", f"it ended with {ended}")


def describe(error: Exception) -> str:
    """A socket or HTTP error in words."""
    if isinstance(error, http.client.IncompleteRead):
        return "the answer broke off"
    return str(error) or type(error).__name__
