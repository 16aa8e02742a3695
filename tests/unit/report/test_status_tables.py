"""A running instance as tables."""

import pytest

from built_plans import dimension, make_plan
from onejob.model.observations import CoreFile, UnexpectedFile
from onejob.model.plan import Restart
from onejob.report.status import duration, instance_row, shown, status_tables
from some_observations import WEB, denied, observations, process


def test_one_line_says_how_an_instance_goes() -> None:
    assert instance_row("web", "host", ("127.0.0.1:80",), observations()) == (
        "web", "host", "1 h 2 min", "serve", "2", "3", "127.0.0.1:80",
    )  # fmt: skip


def test_peaks_stand_beside_their_limits() -> None:
    plan = make_plan(dimensions=(dimension("limit", "nofile", 48), dimension("cgroup", "tasks", 8)))
    tables = {table.title: table for table in status_tables(observations(), plan)}
    rows = {row[0]: row[1:] for row in tables["most at once"].rows}
    assert rows["descriptors of a process"] == ("12", "48", "25%")
    assert rows["threads"] == ("2", "8", "25%")
    assert rows["sockets"] == ("5", "", "")
    assert tables["denied"].rows == (
        ("3", "ptrace", WEB, "worker", "serve", "0x0, 0x1, 0x2, 0x3, 0x4, 0x5"),
    )
    assert [row[:4] for row in tables["processes"].rows] == [
        ("7", WEB, "main", "serve"), ("8", WEB, "worker", "serve"),
    ]  # fmt: skip


def test_nothing_denied_is_no_table() -> None:
    titles = [table.title for table in status_tables(observations(denials=()), make_plan())]
    assert titles == ["processes", "most at once"]


def test_foreign_names_cannot_steer_a_terminal() -> None:
    evil = "/srv/\x1b]0;owned\x07\u202e"
    found = observations(processes=(process(7, program=evil),), denials=(denied(program=evil),))
    text = str(status_tables(found, make_plan()))
    assert "\\x1b" not in text and "\\x07" not in text and "\u202e" not in text
    assert shown(evil) == "/srv/?]0;owned??"


def test_files_that_were_asked_for_in_vain_are_named() -> None:
    seen = UnexpectedFile(program=WEB, path="/etc/\x1bx", how="read", error=30, count=23)
    found = observations(unexpected_files=(seen,), unexpected_files_unlisted=7)
    [table] = [each for each in status_tables(found, make_plan()) if "in vain" in each.title]
    assert table.title == "files asked for in vain (and 7 times others, which are not listed)"
    assert table.rows == (("23", "/etc/?x", "read", "EROFS", WEB),)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h 0 min"), (190_000, "2 d 4 h")],
)
def test_durations_are_short(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_failures_stand_beside_the_most_in_a_row() -> None:
    policy = Restart(attempts=6, first_ms=1, longest_ms=1, steady_ms=1, reason="a test")
    found = observations(restarts=2, last_end="was ended by signal 11")
    tables = {table.title: table for table in status_tables(found, make_plan(restart=policy))}
    assert tables["failed and started again"].rows == (("2", "6", "was ended by signal 11"),)


def test_core_files_are_named_with_what_they_are_of() -> None:
    core = CoreFile(
        file="core.1", program=WEB, pid=71, signal=11, threads=2, kib=2048, whole=False, time=1
    )
    tables = {
        table.title: table.rows for table in status_tables(observations(cores=(core,)), make_plan())
    }
    row = ("core.1", WEB, "71", "11", "2", "2.0 MiB, cut")
    assert tables["failed, memory kept"] == (row,)
    assert "failed, memory kept" not in {
        t.title for t in status_tables(observations(), make_plan())
    }
