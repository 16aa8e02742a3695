"""Drills: effects are checked, and each silent failure of a service is caught and explained."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onejob.drive.drills import run_drills
from onejob.drive.effects import check_workers
from onejob.drive.judged import StepFailedError
from onejob.drive.ready import wait_ready
from onejob.drive.target import Process
from onejob.model.errors import LacksError, ServiceError
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload

from .conftest import LocalTarget, Notes, StartService

WORKLOAD = """
name = "sample"
command = ["sample"]
packages = ["sample-tools"]
ports = [PORT]
ready = { http = "http://{address:PORT}/" }
stop = { signal = "QUIT", within = 10.0 }

[[drill]]
name = "start"
run = { command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                   "http://{address:PORT}/"], prints = "200" }

[[drill]]
name = "serve"
run = [["sh", "-c", "echo '  42 requests in 1.00s, 5MB read'"], ["true"]]

[[drill]]
name = "reload"
in_flight = { http = "http://{address:PORT}/slow" }
signal = "HUP"
expect = { workers = "renewed", within = WITHIN }

[[drill]]
name = "rotate"
inside = ["rename", "LOG", "LOG.1"]
signal = "USR1"
[drill.expect]
request = "http://{address:PORT}/?{nonce}"
within = WITHIN
files = [
    { path = "LOG", contains = "{nonce}" },
    { path = "LOG.1", lacks = "{nonce}", exists = true },
]

[[drill]]
name = "stop"
in_flight = { http = "http://{address:PORT}/slow" }
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that drill commands, which are nobody's, may write in."""
    with tempfile.TemporaryDirectory(prefix="onejob-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


def workload_of(target: LocalTarget, within: float = 10.0) -> Workload:
    text = WORKLOAD.replace("PORT", str(target.port)).replace("LOG", str(target.log))
    return parse_toml(text.replace("WITHIN", str(within)), Workload, "sample")


def with_drill(workload: Workload, **drill: Any) -> Workload:
    fields = workload.model_dump()
    fields["drill"] = [{"name": "extra", **drill}]
    return Workload.model_validate(fields, strict=False)


def test_workers_of_a_pool_whose_size_changes_are_replaced() -> None:
    main, *old = (Process(pid, 1 if pid > 1 else 0, 0, "x") for pid in (1, 2, 3))
    new = [Process(pid, 1, 0, "x") for pid in (4, 5, 6)]
    check_workers("replaced", [main, *old], [main, *new])
    with pytest.raises(StepFailedError, match="by as many new ones; they are 4, 5, 6"):
        check_workers("renewed", [main, *old], [main, *new])
    for now in ([main, old[0], *new], [main]):
        with pytest.raises(StepFailedError, match="workers 2, 3 to be replaced by new ones"):
            check_workers("replaced", [main, *old], now)


def test_a_worker_that_went_is_restored_by_one() -> None:
    main, *old = (Process(pid, 1 if pid > 1 else 0, 0, "x") for pid in (1, 2, 3))
    new = [Process(pid, 1, 0, "x") for pid in (4, 5)]
    check_workers("restored", [main, *old], [main, old[0], new[0]])
    for now in ([main, *old], [main, old[0]], [main, *new], [main, *old, new[0]]):
        with pytest.raises(StepFailedError, match="one of the workers 2, 3 anew"):
            check_workers("restored", [main, *old], now)


def ready(target: LocalTarget, within: float = 10.0) -> Workload:
    workload = workload_of(target, within)
    wait_ready(target, workload, time.monotonic())
    return workload


def test_a_good_service_passes_all_drills(start_service: StartService, notes: Notes) -> None:
    target = start_service()
    results = run_drills(target, ready(target), notes)
    names = ["start", "serve", "reload", "rotate", "stop"]
    assert [r.name for r in results] == notes.begun == names
    assert list(results) == notes.results
    assert target.drills == names[1:]
    assert all(r.passed and not r.failure for r in results)
    assert [r.phase for r in results] == ["boot", "serve", "serve", "serve", "serve"]
    requests = {r.name: r.requests for r in results}
    assert (requests["serve"], requests["reload"], requests["stop"]) == (42, 1, 1)
    assert requests["rotate"] >= 1
    assert target.process.returncode == 0


def test_a_service_that_goes_on_after_a_signal_is_not_sent_the_next_at_once(
    start_service: StartService, notes: Notes
) -> None:
    target = start_service("executes-itself")
    workload = ready(target)
    workload = workload.model_copy(update={"drill": workload.drill[1:3]})  # no rotation: it ends
    run_drills(target, workload, notes)
    assert target.process.returncode == 0


FAULTS = [
    ("ignores-hup", "drill reload, expect: expected workers", "replaced by as many new ones"),
    ("dies-on-hup", "sample ended with signal 9 during this drill", "drill reload"),
    ("keeps-log", "access.log to contain '{nonce}' within 0.5 s; it does not", "drill rotate"),
    ("drops-in-flight", "the request in flight to be answered with 200", "drill reload"),
    ("ends-with-3", "drill stop, stop: expected sample to end with status 0; it ended with", "3"),
    ("breaks-off", "whole; it was not: the answer broke off", "drill reload"),
]


@pytest.mark.parametrize(("fault", "said", "also"), FAULTS)
def test_a_silent_failure_is_caught(
    start_service: StartService, notes: Notes, fault: str, said: str, also: str
) -> None:
    target = start_service(fault)
    workload = ready(target, within=0.5 if fault in ("ignores-hup", "keeps-log") else 10.0)
    if fault == "breaks-off":  # curl notices as well; here it is the whole answer that counts
        workload = workload.model_copy(update={"drill": workload.drill[1:]})
    with pytest.raises(ServiceError) as caught:
        run_drills(target, workload, notes)
    assert said in caught.value.what
    assert also in caught.value.what
    assert "service is up" in caught.value.what
    assert not notes.results[-1].passed
    assert notes.results[-1].failure == caught.value.what


def test_a_wrong_status_shows_what_the_command_said(
    start_service: StartService, notes: Notes
) -> None:
    target = start_service()
    workload = with_drill(ready(target), run=[["sh", "-c", "echo it broke >&2; exit 7"]])
    with pytest.raises(ServiceError, match=r"exit status 0 of .*; it was 7\n  it broke"):
        run_drills(target, workload, notes)


def test_a_command_that_hangs_is_ended(start_service: StartService, notes: Notes) -> None:
    target = start_service()
    run = [["sh", "-c", "sleep 987 & sleep 987"]]
    workload = with_drill(ready(target), run=run, within=0.3)
    with pytest.raises(ServiceError, match=r"to end within 0.3 s; it did not"):
        run_drills(target, workload, notes)


def test_commands_run_unprivileged(start_service: StartService, notes: Notes) -> None:
    target = start_service()
    script = "id -u; id -G; grep NoNewPrivs /proc/self/status | tr -dc 0-9"
    run = [{"command": ["sh", "-c", script], "prints": "65534\n65534\n1"}]
    run_drills(target, with_drill(ready(target), run=run), notes)


def test_a_load_generator_that_got_nothing_answered_fails(
    start_service: StartService, notes: Notes
) -> None:
    target = start_service()
    run = [["echo", "  0 requests in 5.00s, 0.00B read"]]
    with pytest.raises(ServiceError, match="it says there were 0"):
        run_drills(target, with_drill(ready(target), run=run), notes)


def test_what_a_command_says_may_have_the_drills_nonce(
    start_service: StartService, notes: Notes, open_folder: Path
) -> None:
    target = start_service()
    run = [
        {"command": ["sh", "-c", "echo a {nonce} >&2"], "contains": "{nonce}"},
        {
            "command": ["sh", "-c", f"echo {{nonce}} {{port:{target.port}}}"],
            "prints": f"{{nonce}} {target.port}",
        },
        ["sh", "-c", f"echo mail {{nonce}} > {open_folder}/said"],
    ]
    expect = {"files": [{"path": f"{open_folder}/said", "contains": "mail {nonce}"}], "within": 1.0}
    text = "number of transactions actually processed: 23/23"
    more = {"name": "count", "run": [["echo", text]]}
    workload = with_drill(ready(target), run=run, expect=expect)
    fields = workload.model_dump()
    fields["drill"] = [*fields["drill"], more]
    results = run_drills(target, Workload.model_validate(fields, strict=False), notes)
    assert {r.name: r.requests for r in results}["count"] == 23


def test_output_without_the_expected_text_fails(start_service: StartService, notes: Notes) -> None:
    target = start_service()
    run = [{"command": ["sh", "-c", "echo one; echo two >&2"], "contains": "three"}]
    with pytest.raises(ServiceError, match=r"to contain 'three'; it printed 'one' .*'two'"):
        run_drills(target, with_drill(ready(target), run=run), notes)


def test_an_expected_command_is_run_again_until_it_holds(
    start_service: StartService, notes: Notes, open_folder: Path
) -> None:
    target = start_service()
    script = f"echo x >> {open_folder}/looks; wc -l < {open_folder}/looks"
    expect = {"run": {"command": ["sh", "-c", script], "prints": "3"}}
    run_drills(target, with_drill(ready(target), expect=expect), notes)
    assert (open_folder / "looks").read_text() == "x\n" * 3
    expect = {"run": {"command": ["false"]}, "within": 0.2}
    target = start_service()
    with pytest.raises(ServiceError, match=r"exit status 0 of 'false' within 0\.2 s; it was 1"):
        run_drills(target, with_drill(ready(target), expect=expect), notes)


def test_a_missing_command_names_the_packages(start_service: StartService, notes: Notes) -> None:
    target = start_service()
    with pytest.raises(LacksError) as caught:
        run_drills(target, with_drill(ready(target), run=[["no-such-tool"]]), notes)
    assert "no-such-tool is not installed" in caught.value.what
    assert caught.value.hint == "apt-get install sample-tools"


def test_a_port_that_still_answers_is_named(start_service: StartService, notes: Notes) -> None:
    import socket

    target = start_service()
    workload = ready(target)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        fields = {**workload.model_dump(), "ports": [target.port, port], "drill": []}
        with pytest.raises(
            ServiceError, match=f"every port to be free after the end; {port} still"
        ):
            run_drills(target, Workload.model_validate(fields, strict=False), notes)


def test_a_file_that_is_missing_is_said_to_be(start_service: StartService, notes: Notes) -> None:
    target = start_service()
    files = [{"path": "/nowhere", "contains": "x"}]
    workload = with_drill(ready(target), expect={"files": files, "within": 0.2})
    with pytest.raises(ServiceError, match="it does not \\(there is no such file\\)"):
        run_drills(target, workload, notes)
