"""A service whose programs are narrowed lives and ends as any other; what narrowing refuses."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from init_container import ASK, CALLS, Container, await_true, call_filter
from rows_container import ROWS, SECCOMP, SLOT, UNION, allowed, put_row, verdicts

pytestmark = [pytest.mark.root, pytest.mark.runc]


# ---- nothing else changes ---------------------------------------------------------------------


def test_processes_tell_their_role_and_phase(rows: Container) -> None:
    rows.start("leave-worker")
    rows.await_text("ready")
    main = rows.event("started")["pid"]
    found = {(p["pid"] == main, p["role"], p["phase"]) for p in rows.ask("processes")}
    assert found == {(True, "main", "serve"), (False, "worker", "boot")}


def test_without_memory_a_worker_is_ended_before_main(rows: Container) -> None:
    """Nobody else would be left if main went first: what all workers take is counted one by one."""
    rows.start("leave-worker")  # forked when main has settled
    rows.await_text("ready")
    main = rows.event("started")["pid"]
    found = {}
    for process in rows.ask("processes"):
        path = f"/proc/{process['pid']}/oom_score_adj"
        found[process["pid"] == main] = int(rows.text_of(path))
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert found == {True: own, False: max(own, 500)}


def test_the_rights_of_the_service_stay_what_they_are(rows: Container, job: Path) -> None:
    shutil.copy(job, rows.root / "job")
    rows.start("status")
    rows.await_text("ready")
    words = {line.split()[0]: line.split()[1:] for line in rows.console.splitlines()}
    granted = f"{1 << 0 | 1 << 5:016x}"
    assert words["CapBnd:"] == words["CapPrm:"] == words["CapEff:"] == [granted]
    assert words["SigBlk:"] == words["SigIgn:"] == ["0" * 16]


def test_a_trace_takes_no_rights_from_a_set_user_id_program(rows: Container) -> None:
    (rows.root / "other").chmod(0o4755)
    rows.plan |= {"user": 33, "group": 33, "no_new_privileges": False}
    rows.start("exec-whoami")
    rows.await_text("ready")
    assert "users 33 0\n" in rows.console


def test_a_settled_process_makes_its_calls_without_stops(rows: Container) -> None:
    """Each stop of a tracee makes it give up the processor, which the kernel counts."""
    rows.start("cost")
    rows.await_text("ready")
    switches = dict(re.findall(r"^(\w+): (\d+) switches$", rows.console, re.M))
    assert int(switches["before"]) < 100  # of 10,000 calls
    assert int(switches["listening"]) >= 2000  # at entry and exit of 1,000 calls
    assert int(switches["settled"]) < 100  # of 100,000 calls


def test_a_process_that_never_waits_does_not_pay_for_ever(rows: Container) -> None:
    rows.start("restless")
    rows.await_text("ready", 120)
    switches = dict(re.findall(r"^(\w+): (\d+) switches$", rows.console, re.M))
    assert int(switches["restless"]) >= 190_000  # 100,000 calls, less those of main before
    assert int(switches["later"]) < 100  # of 10,000 calls
    assert verdicts(rows, "main boot") == [allowed("getppid", "gettid")]
    rows.await_text("onejob: /job (main) makes many calls without settling: it keeps its boot row")


@pytest.mark.parametrize("count", [1000])
def test_short_children_are_all_reaped(rows: Container, count: int) -> None:
    rows.start("children", str(count))
    rows.await_text(f"{count} of {count} children")
    rows.await_text("ready")
    main = rows.event("started")["pid"]
    names = rows.ask("list", path="/proc")
    assert sorted(name for name in names if name.isdigit()) == ["1", str(main)]


def test_no_child_of_a_killed_maker_stays_stopped(rows: Container) -> None:
    rows.start("killed-makers", "300")
    rows.await_text("no child is left", 60)


def test_signals_and_group_stops_are_passed_on(rows: Container) -> None:
    rows.start("signals")
    rows.await_text("ready")
    assert "stopped: 1\nchild got 30, main 23\nkilled by 9\n" in rows.console


def test_signals_that_are_ignored_end_no_wait(rows: Container) -> None:
    rows.start("ignored")
    rows.await_text("ready")
    assert "recv: Resource temporarily unavailable\n" in rows.console
    assert "epoll_wait: " not in rows.console


def test_signals_do_not_disturb_the_narrowing(any_rows: Container) -> None:
    any_rows.start("storm")
    any_rows.await_text("ready")
    assert "after the storm" in any_rows.console
    assert verdicts(any_rows, "main serve") == [allowed()]


@pytest.mark.parametrize(
    ("words", "event", "status"),
    [
        (("exit", "0"), {"status": 0}, 0),
        (("exit", "23"), {"status": 23}, 23),
        (("die",), {"signal": 3}, 131),
    ],
)
def test_the_end_is_told_as_ever(
    rows: Container, words: tuple[str, ...], event: dict[str, int], status: int
) -> None:
    rows.start(*words)
    assert rows.status() == status
    assert rows.rest()[-1] == {"event": "exited", **event}


def test_stop_uses_the_stop_signal(rows: Container) -> None:
    rows.start("phases")
    rows.await_text("ready")
    rows.ask("stop")
    assert rows.event("exited") == {"event": "exited", "status": 0}
    assert rows.status() == 0
    assert "quitting" in rows.console


def test_a_service_that_does_not_stop_is_killed(rows: Container) -> None:
    rows.plan["stop_timeout_ms"] = 300
    rows.start("deaf")
    rows.await_text("ready")
    rows.ask("stop")
    assert rows.event("exited") == {"event": "exited", "signal": int(signal.SIGKILL)}
    rows.await_text("job does not stop: killed")


def test_the_rest_of_the_service_is_killed_at_the_end(rows: Container) -> None:
    rows.start("leave")
    assert rows.status() == 3
    assert "stubborn" in rows.console


def test_a_command_that_cannot_be_executed_is_named(rows: Container) -> None:
    rows.plan["command"] = ["/nothing"]
    rows.start()
    assert rows.status() == 127
    assert "cannot execute /nothing: No such file or directory" in rows.console


def test_denied_execve_does_not_hang(rows: Container) -> None:
    rows.policy = call_filter(UNION - {CALLS["execve"]}, ASK)
    rows.start("phases")
    assert rows.status() == 127
    assert "cannot execute /job: Operation not permitted" in rows.console


# ---- what cannot be ---------------------------------------------------------------------------


def test_without_the_right_to_trace_there_is_no_boot(rows: Container) -> None:
    rows.capabilities.remove("CAP_SYS_PTRACE")
    rows.start("phases")
    assert rows.status() == 1
    sentence = "onejob: process 1 lacks CAP_SYS_PTRACE, so it cannot narrow programs to their rows"
    assert sentence in rows.console
    assert "Hint: give the container CAP_SYS_PTRACE" in rows.console


def runtime_filter(call: str) -> dict[str, Any]:
    """What a container runtime puts on process 1: everything is allowed but one call."""
    rule = {"names": [call], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    return {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}


def test_the_filter_of_a_container_runtime_is_not_taken_for_the_services(rows: Container) -> None:
    rows.linux = runtime_filter("acct")
    rows.start("phases")
    rows.await_text("ready")
    assert verdicts(rows, "main serve") == [allowed()]


def test_a_trace_that_is_refused_is_no_boot(rows: Container) -> None:
    rows.linux = runtime_filter("ptrace")
    rows.start("phases")
    assert rows.status() == 1
    assert "onejob: cannot trace the service: Operation not permitted. Hint: " in rows.console


def test_a_process_with_filters_of_its_own_is_left_alone(rows: Container) -> None:
    """A row on top could turn what its filters allow into its end."""
    rows.policy = call_filter({*UNION, SECCOMP}, ASK)
    put_row(rows, 0, UNION | {SECCOMP})
    rows.start("own-filter")
    rows.await_text("ready")
    assert verdicts(rows, "main serve") == [allowed("umask", "getppid", "gettid")]
    rows.await_text("onejob: /job has filters of its own, and is not narrowed")
    assert rows.event("unnarrowed")["why"] == "own-filters"


def test_a_service_that_may_gain_rights_is_not_narrowed_and_that_is_said(rows: Container) -> None:
    rows.plan["no_new_privileges"] = False
    rows.start("phases")
    rows.await_text("ready")
    every = [allowed("umask", "getppid", "gettid")]
    assert verdicts(rows, "main boot") == verdicts(rows, "main serve") == every
    words = "onejob: /job may gain rights by programs (no_new_privileges is off)"
    rows.await_text(words)
    assert rows.console.count(words) == 1


def test_without_rows_nobody_is_traced(rows: Container) -> None:
    rows.plan["rows"] = []
    rows.capabilities.remove("CAP_SYS_PTRACE")
    rows.start("phases")
    rows.await_text("ready")
    status = rows.text_of(f"/proc/{rows.event('started')['pid']}/status")
    assert re.search(r"^TracerPid:\t0$", status, re.M)
    assert verdicts(rows, "main serve") == [allowed("umask", "getppid", "gettid")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role": "king"}, "unknown variant `king`"),
        ({"program": "job"}, "a row's `program` is not an absolute path"),
        ({"boot": "/etc/passwd"}, "invalid type: string"),
        ({"serve": [-1, 2]}, "invalid value: integer `-1`"),
        ({"colour": "red"}, "unknown field `colour`"),
    ],
)
def test_bad_row_is_refused(rows: Container, change: dict[str, Any], words: str) -> None:
    rows.plan["rows"] = [{**ROWS[0], **change}]
    rows.start()
    assert rows.status() == 1
    assert f"onejob: /.onejob/instance.json: {words}" in rows.console


def test_twin_rows_are_refused(rows: Container) -> None:
    rows.plan["rows"] = [ROWS[0], ROWS[0]]
    rows.start()
    assert rows.status() == 1
    assert "two `rows` of one program and role" in rows.console


@pytest.mark.parametrize("content", [b"", b"1234567"])
def test_a_bad_file_of_filters_is_refused(rows: Container, content: bytes) -> None:
    rows.rows, rows.policy = content, b""
    rows.start()
    assert rows.status() == 1
    assert "onejob: /.onejob/filters.bpf has" in rows.console


@pytest.mark.parametrize("place", [(5 * SLOT, 1), (0, 5 * SLOT), (2**64 - 1, 2), (0, 0)])
def test_a_filter_that_is_not_in_the_file_is_refused(
    rows: Container, place: tuple[int, int]
) -> None:
    rows.plan["rows"] = [{**ROWS[0], "serve": place}]
    rows.start()
    assert rows.status() == 1
    assert f"instructions, and no filter at {place[0]}" in rows.console


def test_a_filter_that_is_longer_than_any_is_refused(rows: Container) -> None:
    rows.rows = b"\0" * 8 * 4097
    rows.plan["rows"] = [{**ROWS[0], "boot": (0, 4097)}]
    rows.start()
    assert rows.status() == 1
    assert "more instructions than the kernel takes" in rows.console


def test_a_row_that_the_kernel_refuses_is_named(rows: Container) -> None:
    rows.rows = rows.rows[: 8 * SLOT] + b"\xff" * 8 * SLOT + rows.rows[16 * SLOT :]
    rows.start("phases")
    rows.await_text("ready")
    rows.await_text("cannot narrow /job to its row of calls: Invalid argument")
    await_true(lambda: rows.ask("denials") != [], lambda: rows.console)
