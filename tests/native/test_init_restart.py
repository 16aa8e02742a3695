"""A service that fails is started again after a rest, and stopped when it fails in a row."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from init_container import Container, await_true
from rows_container import allowed, verdicts

from onejob.model.jsonfile import parse_json
from onejob.model.observations import Observations

pytestmark = [pytest.mark.root, pytest.mark.runc]

AGAIN = re.compile(r"it is started again in (\d+) ms \((\d) of (\d)\)")


@pytest.fixture
def restarted(rows: Container) -> Container:
    """Its service may fail three times in a row, and no drill looks on."""
    rows.environment.remove("ONEJOB_DRIVEN=yes")
    rows.plan["restart"] = policy(attempts=3)
    return rows


def policy(**changes: int) -> dict[str, Any]:
    return {"attempts": 3, "first_ms": 20, "longest_ms": 50, "steady_ms": 60_000, **changes}


def test_one_that_fails_in_a_row_is_stopped_with_one_sentence(restarted: Container) -> None:
    restarted.start("exit", "7")
    assert restarted.status() == 7
    assert AGAIN.findall(restarted.console) == [
        ("20", "1", "3"), ("40", "2", "3"), ("50", "3", "3"),
    ]  # fmt: skip
    assert re.search(
        r"onejob: job failed 4 times in a row, the last time after \d\.\d s: "
        r"it is not started again\n",
        restarted.console,
    )
    assert restarted.console.count("job exited with status 7") == 3 + 1


def test_each_start_goes_through_the_boot_row_again(restarted: Container) -> None:
    restarted.start("phases-fail")
    assert restarted.status() == 3
    assert verdicts(restarted, "main boot") == [allowed("getppid", "gettid")] * 4
    assert verdicts(restarted, "main serve") == [allowed()] * 4


def test_a_signal_is_a_failure_and_restarts_are_observed(restarted: Container) -> None:
    restarted.plan["restart"] = policy(attempts=1, first_ms=1, longest_ms=1)
    restarted.start("abort-once")
    restarted.await_text("ready")
    told = json.dumps(restarted.ask("observations"))
    found = parse_json(told, Observations, "observations")
    assert (found.restarts, found.last_end) == (1, "was ended by signal 6")
    assert len(found.processes) == 1
    assert [event["event"] for event in restarted.events].count("started") == 2


def test_one_that_ran_long_enough_begins_anew(restarted: Container) -> None:
    restarted.plan["restart"] = policy(attempts=1, steady_ms=0, first_ms=100, longest_ms=100)
    restarted.start("exit", "7")
    await_true(lambda: len(AGAIN.findall(restarted.console)) > 3, lambda: restarted.console)
    restarted.ask("stop")
    assert restarted.status() in (0, 7)  # in the middle of its rest, or of its short life


def test_asked_to_stop_while_it_rests_it_ends_at_once(restarted: Container) -> None:
    restarted.plan["restart"] = policy(first_ms=600_000, longest_ms=600_000)
    restarted.start("exit", "7")
    restarted.await_text("it is started again in 600000 ms")
    restarted.ask("stop")
    assert restarted.status() == 7
    assert "times in a row" not in restarted.console


@pytest.mark.parametrize("status", [0, 7])
def test_who_has_done_its_work_or_is_drilled_is_not_started_again(
    restarted: Container, status: int
) -> None:
    if status:
        restarted.environment.append("ONEJOB_DRIVEN=yes")
    restarted.start("exit", str(status))
    assert restarted.status() == status
    assert not AGAIN.search(restarted.console)


def test_what_cannot_be_executed_is_not_tried_again(restarted: Container) -> None:
    restarted.plan["command"] = ["/no-such-program"]
    restarted.start()
    assert restarted.status() == 127
    assert "cannot execute /no-such-program" in restarted.console
    assert not AGAIN.search(restarted.console)
