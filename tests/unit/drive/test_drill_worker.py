"""A drill can signal a worker instead of the main process: as if it had crashed."""

import time

import pytest
from pydantic import ValidationError

from onejob.drive.drills import run_drills
from onejob.drive.effects import last_worker
from onejob.drive.judged import StepFailedError
from onejob.drive.target import Process
from onejob.model.errors import ServiceError
from onejob.model.workload import Drill, Workload

from .conftest import Notes, StartService


def crashing(port: int) -> Workload:
    return Workload.model_validate(
        {
            "name": "sample", "command": ["sample"], "ports": [port], "ready": {"tcp": port},
            "stop": {"signal": "QUIT"},
            "drill": [{"name": "crash", "signal": "KILL", "to": "worker"}],
        },
        strict=False,
    )  # fmt: skip


def test_the_worker_that_was_forked_last_gets_the_signal(
    start_service: StartService, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = start_service(workers=2)
    while len(target.processes()) < 3:
        time.sleep(0.01)
    workers, sent = target.processes()[1:], []
    send = target.send_signal

    def remember(number: int, worker: Process | None = None) -> None:
        send(number, worker)
        sent.append((number, worker))
        if worker:
            while worker in target.processes():
                time.sleep(0.01)

    monkeypatch.setattr(target, "send_signal", remember)
    results = run_drills(target, crashing(target.port), notes)
    assert [(result.name, result.passed) for result in results][1:] == [
        ("crash", True), ("stop", True)
    ]  # fmt: skip
    assert sent == [(9, max(workers, key=lambda each: (each.start, each.pid))), (3, None)]


def test_without_a_worker_the_drill_fails(start_service: StartService, notes: Notes) -> None:
    target = start_service(workers=0)
    while "service is up" not in target.output():
        time.sleep(0.01)
    with pytest.raises(ServiceError, match="expected a worker to be signalled; the main process"):
        run_drills(target, crashing(target.port), notes)


def test_the_last_one_is_by_time_and_the_main_processs_own() -> None:
    main = Process(9, 1, 100, "x")
    others = [Process(4, 9, 300, "x"), Process(7, 9, 200, "x"), Process(3, 4, 400, "x")]
    assert last_worker([main, *others]).pid == 4
    with pytest.raises(StepFailedError):
        last_worker([main, Process(3, 4, 400, "x")])


def test_a_worker_without_a_signal_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no signal that would go `to` a worker"):
        Drill.model_validate({"name": "crash", "to": "worker"})
