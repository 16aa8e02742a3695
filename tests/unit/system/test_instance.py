"""What an Instance makes of process 1's words."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from onejob.drive.target import Exit, Process
from onejob.model.errors import ServiceError
from onejob.system.console import Console
from onejob.system.control import Control
from onejob.system.instance import Denial, Instance, merge_denials

from .test_control import ProcessOne


class FakeRunner:
    status: int | None = None

    def ended(self) -> int | None:
        return self.status


class Parts:
    """An Instance over a scripted process 1."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.one = ProcessOne(lambda request: self.answers.get(request["do"]))
        self.runner = FakeRunner()
        self.console = Console()
        self.control = Control(self.one.theirs)
        self.instance = Instance(
            "sample", self.runner, self.control, self.console, {80: "127.0.0.1:8080"}, None
        )


@pytest.fixture
def parts() -> Iterator[Parts]:
    made = Parts()
    yield made
    made.control.close()
    made.console.close()
    made.one.ours.close()


def test_the_main_process_comes_first(parts: Parts) -> None:
    parts.one.say({"event": "started", "pid": 9})
    parts.instance.await_started(5.0)
    entries = [(4, 9), (9, 1), (12, 9)]
    parts.answers["processes"] = {
        "ok": [{"pid": p, "ppid": q, "start": 100 + p, "program": "/x"} for p, q in entries]
    }
    assert parts.instance.processes()[0] == Process(9, 1, 109, "/x")
    assert [p.pid for p in parts.instance.processes()] == [9, 4, 12]


def test_a_missing_file_contains_nothing(parts: Parts) -> None:
    parts.answers["contains"] = {"error": "contains /a: No such file or directory"}
    assert parts.instance.contains("/a", "x") is False
    parts.answers["contains"] = {"error": "contains /a: Is a directory"}
    with pytest.raises(ServiceError, match="Is a directory"):
        parts.instance.contains("/a", "x")


def test_the_end_is_known_when_the_whole_system_is_gone(parts: Parts) -> None:
    assert parts.instance.exited() is None
    parts.one.say({"event": "exited", "status": 3})
    assert parts.control.wait_event("exited", 5.0)
    assert parts.instance.exited() is None
    parts.runner.status = 3
    assert parts.instance.exited() == Exit(3, None)


def test_a_system_that_ends_without_a_word_shows_its_console(parts: Parts) -> None:
    os.write(parts.console.writing, b"Kernel panic - not syncing\r\n")
    parts.console.stop_writing()
    parts.one.hang_up()
    parts.runner.status = 0
    with pytest.raises(ServiceError, match="Kernel panic"):
        parts.instance.exited()
    with pytest.raises(ServiceError, match="sample was not started: its system ended"):
        parts.instance.await_started(5.0)


def test_denials_of_one_call_are_added_up() -> None:
    entries = [
        {"program": "/b", "call": 48, "count": 2, "args": ["23", "1"]},
        {"program": "/a", "call": 101},
        {"program": "/b", "call": 48, "count": 3, "args": ["7", "1"]},
    ]
    found = merge_denials(entries)
    assert found == (Denial("ptrace", "/a", 1), Denial("shutdown", "/b", 5))
    assert [denial.args for denial in found] == [(), (23, 1)]


def test_denials_of_different_rows_are_kept_apart() -> None:
    entries = [
        {"program": "/a", "call": 101, "role": "worker", "phase": "serve", "count": 2},
        {"program": "/a", "call": 101, "role": "main", "phase": "boot", "count": 3},
        {"program": "/a", "call": 101, "role": "worker", "phase": "serve", "count": 1},
    ]
    assert merge_denials(entries) == (
        Denial("ptrace", "/a", 3, "main", "boot"),
        Denial("ptrace", "/a", 3, "worker", "serve"),
    )


def test_denials_outlive_process_one(parts: Parts) -> None:
    parts.one.say({"event": "denied", "program": "/a", "call": 48, "count": 1})
    assert parts.control.wait_event("denied", 5.0)
    parts.one.hang_up()
    parts.control.wait_event("never", 5.0)
    assert parts.instance.denials() == (Denial("shutdown", "/a", 1),)


def test_console_keeps_the_end() -> None:
    seen: list[str] = []
    console = Console(seen.append)
    for number in range(300):
        os.write(console.writing, f"{number} {'x' * 10_000}\n".encode())
    console.stop_writing()
    console.drain(5.0)
    assert console.text().rstrip().splitlines()[-1].startswith("299 ")
    assert len(console.text()) <= 2 * 1024 * 1024
    assert sum(map(len, seen)) > 3_000_000
    console.close()
