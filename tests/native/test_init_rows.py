"""Process 1 narrows each process of the service to its row of the call matrix, from outside."""

from __future__ import annotations

import re

import pytest
from init_container import ASK, Container, call_filter
from rows_container import (
    BOOT,
    EPOLL_CREATE1,
    GETPPID,
    GETTID,
    LISTEN,
    ROWS,
    UMASK,
    UNION,
    WORKER,
    allowed,
    put_row,
    row,
    serve,
    verdicts,
)  # fmt: skip

pytestmark = [pytest.mark.root, pytest.mark.runc]


# ---- phases and roles -------------------------------------------------------------------------


def test_boot_row_holds_from_main_on_and_serve_row_from_waiting_on(any_rows: Container) -> None:
    any_rows.start("phases")
    any_rows.await_text("ready")
    assert verdicts(any_rows, "main boot") == [allowed("getppid", "gettid")]
    assert verdicts(any_rows, "main serve") == [allowed()]


def test_who_settles_has_its_pages_and_so_has_its_parent(any_rows: Container) -> None:
    any_rows.start("pages")
    any_rows.await_text("ready")
    said = dict(re.findall(r"^(main|worker|main again): (\d+) faults$", any_rows.console, re.M))
    assert int(said.pop("main")) > 40
    assert said == {"worker": "0", "main again": "0"}


def test_waiting_settles_only_who_listens(rows: Container) -> None:
    rows.start("wait-first")
    rows.await_text("ready")
    assert verdicts(rows, "main boot") == [allowed("getppid", "gettid")]
    assert verdicts(rows, "main listens") == [allowed("getppid", "gettid")]


def test_a_named_call_settles_who_never_listens(any_rows: Container) -> None:
    any_rows.plan["settling"] = [EPOLL_CREATE1]
    any_rows.start("wait-first")
    any_rows.await_text("ready")
    assert verdicts(any_rows, "main boot") == [allowed()]


def test_where_a_call_is_named_waiting_settles_nobody(any_rows: Container) -> None:
    any_rows.plan["settling"] = [LISTEN]
    any_rows.start("wait-first")
    any_rows.await_text("ready")
    assert verdicts(any_rows, "main boot") == [allowed("getppid", "gettid")]
    assert verdicts(any_rows, "main listens") == [allowed()]


def test_all_threads_are_narrowed_at_once(any_rows: Container) -> None:
    any_rows.start("thread")
    any_rows.await_text("ready")
    assert verdicts(any_rows, "thread") == [allowed()]


def test_a_thread_that_waits_already_is_not_disturbed_and_settles_later(rows: Container) -> None:
    rows.start("polling")
    rows.await_text("ready")
    assert "long epoll_wait: timed out" in rows.console
    assert verdicts(rows, "polling") == verdicts(rows, "main serve") == [allowed()]


def test_workers_have_a_row_of_their_own_on_top_of_what_they_inherit(any_rows: Container) -> None:
    any_rows.start("workers")
    any_rows.await_text("ready")
    # The second one was forked when its parent had settled, and so inherits that row, too.
    assert verdicts(any_rows, "worker boot") == [allowed("getppid", "gettid"), allowed()]
    assert verdicts(any_rows, "worker serve") == [allowed("gettid"), allowed()]
    assert verdicts(any_rows, "main serve") == [allowed()]


def test_workers_get_their_boot_row_at_the_fork(any_rows: Container) -> None:
    any_rows.plan["rows"] = [ROWS[0], row("/job", "worker", 3, **serve(2))]
    put_row(any_rows, 3, BOOT - {GETPPID})
    any_rows.start("workers")
    any_rows.await_text("ready")
    assert verdicts(any_rows, "worker boot") == [allowed("gettid"), allowed()]
    assert verdicts(any_rows, "worker serve") == [allowed("gettid"), allowed()]
    assert verdicts(any_rows, "main serve") == [allowed()]
    any_rows.ask("denials")
    assert not [event for event in any_rows.events if event["event"] == "unnarrowed"]


def test_another_program_gets_its_own_row(any_rows: Container) -> None:
    any_rows.plan["rows"] = [*ROWS, row("/other", "main", 3, **serve(4))]
    put_row(any_rows, 3, UNION - {GETTID})
    put_row(any_rows, 4, UNION - {GETTID, GETPPID})
    any_rows.start("exec")
    any_rows.await_text("ready")
    assert verdicts(any_rows, "second") == [allowed("getppid")]  # umask: /job's boot row goes on
    assert verdicts(any_rows, "second serve") == [allowed()]


def test_a_program_inherits_that_it_listens_but_not_that_it_settled(rows: Container) -> None:
    rows.plan["rows"] = [row("/job", "main", 0, **serve(0)), row("/other", "main", 0, **serve(1))]
    rows.start("listen-exec")
    rows.await_text("ready")
    assert verdicts(rows, "second") == [allowed("getppid", "gettid")]
    assert verdicts(rows, "second serve") == [allowed()]


def test_a_program_is_narrowed_also_when_another_thread_executes_it(rows: Container) -> None:
    rows.plan["rows"] = [*ROWS, row("/other", "main", 3)]
    put_row(rows, 3, UNION - {GETTID})
    rows.start("thread-execs")
    rows.await_text("ready")
    assert verdicts(rows, "second") == [allowed("getppid")]
    assert verdicts(rows, "second serve") == [allowed("getppid")]  # it has no serve row


def test_a_program_without_row_keeps_what_it_inherits(rows: Container) -> None:
    rows.start("worker-execs")
    rows.await_text("ready")
    assert verdicts(rows, "second") == verdicts(rows, "second serve") == [allowed("gettid")]
    words = "onejob: /other has no row of calls: it keeps what it inherits"
    rows.await_text(words)
    assert rows.console.count(words) == 1


def test_role_without_row_is_said_once(rows: Container) -> None:
    rows.plan["rows"] = ROWS[:1]
    rows.start("workers")
    rows.await_text("ready")
    words = "/job has no row of calls for its workers: it keeps what it inherits"
    rows.await_text(f"onejob: {words}")
    assert rows.console.count(words) == 1
    event = rows.event("unnarrowed")
    told = {"event": "unnarrowed", "program": "/job", "role": "worker", "phase": "boot"}
    assert event == {**told, "why": "no-row", "reason": words}
    assert verdicts(rows, "worker serve") == [allowed("getppid", "gettid"), allowed()]


def test_listen_that_the_row_lacks_is_refused(rows: Container) -> None:
    put_row(rows, 0, BOOT - {LISTEN})
    rows.start("phases")
    rows.await_text("ready")
    assert "listen: Operation not permitted" in rows.console
    assert verdicts(rows, "main serve") == [allowed("getppid", "gettid")]


def test_listen_that_an_inherited_row_lacks_is_refused(rows: Container) -> None:
    rows.plan["rows"] = [*ROWS, row("/other", "main", 0, **serve(1))]
    put_row(rows, 2, WORKER - {LISTEN})
    rows.start("worker-execs")
    rows.await_text("ready")
    assert "listen: Operation not permitted" in rows.console


# ---- denials ----------------------------------------------------------------------------------


def test_denial_tells_role_phase_and_arguments_and_is_counted(rows: Container) -> None:
    rows.start("denied")
    rows.await_text("ready")
    assert "errno 1\n" in rows.console
    rows.await_text("refused system call 110 of /job")
    event = rows.event("denied")
    assert (event["role"], event["phase"], event["count"]) == ("main", "serve", 1)
    assert event["args"] == ["1", "2", "3", "4", "5", "6"]
    assert event["verdict"] == "eperm"
    assert event["pid"] == rows.event("started")["pid"]
    [denial] = rows.ask("denials")
    assert (denial["program"], denial["call"], denial["count"]) == ("/job", GETPPID, 23)
    assert (denial["role"], denial["phase"]) == ("main", "serve")


def test_a_denied_call_can_end_its_process(any_rows: Container) -> None:
    any_rows.plan["denied"] = "kill"
    any_rows.start("denied")
    assert any_rows.event("denied")["verdict"] == "kill"
    assert any_rows.status() == 137
    assert any_rows.rest()[-1] == {"event": "exited", "signal": 9}
    assert "errno" not in any_rows.console
    assert "killed for system call 110 of /job" in any_rows.console


def test_denials_are_told_apart_by_role_and_phase(rows: Container) -> None:
    rows.start("workers")
    rows.await_text("ready")
    counts = {(d["role"], d["phase"], d["call"]): d["count"] for d in rows.ask("denials")}
    assert counts == {
        ("worker", "boot", UMASK): 2, ("worker", "boot", GETPPID): 1, ("worker", "boot", GETTID): 1,
        ("worker", "serve", UMASK): 2, ("worker", "serve", GETPPID): 2,
        ("worker", "serve", GETTID): 1, ("main", "serve", UMASK): 1, ("main", "serve", GETPPID): 1,
        ("main", "serve", GETTID): 1,
    }  # fmt: skip


def test_a_call_that_no_row_has_is_denied_with_role_and_phase_too(rows: Container) -> None:
    rows.policy = call_filter(UNION - {UMASK}, ASK)
    rows.start("phases")
    rows.await_text("ready")
    found = [(d["role"], d["phase"], d["count"]) for d in rows.ask("denials") if d["call"] == UMASK]
    assert found == [("main", "boot", 1), ("main", "serve", 1)]


def test_audit_counts_and_lets_through(any_rows: Container) -> None:
    any_rows.plan["denied"] = "audit"
    any_rows.start("phases")
    any_rows.await_text("ready")
    every = [allowed("umask", "getppid", "gettid")]
    assert verdicts(any_rows, "main boot") == verdicts(any_rows, "main serve") == every
    any_rows.await_text("would refuse system call 110 of /job")
    counts = {(d["phase"], d["call"]): d["count"] for d in any_rows.ask("denials")}
    serving = {("serve", call): 1 for call in (UMASK, GETPPID, GETTID)}
    assert counts == {("boot", UMASK): 1, **serving}
