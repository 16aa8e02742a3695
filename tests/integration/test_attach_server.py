"""A server at work is watched: it answers every request, and 23 of them are 23 lines of its log."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from onejob.drive.attached import Attached
from onejob.model.syscalls import call_number

pytestmark = [pytest.mark.root, pytest.mark.ebpf]

PATIENCE_S = 60
NGINX = """\
user root; daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """nginx as its own user would run it; the pid and the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "page").write_text("23")
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    process = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-e", folder / "early.log"])
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with closing(http.client.HTTPConnection("127.0.0.1", port)) as first:
                    get(first)
                break
            except ConnectionError:
                assert time.monotonic() < deadline, "nginx does not answer"
                time.sleep(0.02)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def get(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/page")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"23")


def test_a_server_under_load_answers_every_request(tmp_path: Path) -> None:
    """While the watch begins, goes on, ends, and when the probe is killed with -9."""
    with nginx(tmp_path) as (pid, port):
        answered, stop = [0], threading.Event()
        failures: list[BaseException] = []

        def load() -> None:
            try:
                with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
                    while not stop.is_set():
                        get(connection)
                        answered[0] += 1
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for number in range(3):
                with Attached([pid], None, tmp_path / f"seen{number}.json") as probe:
                    more(answered, failures)
                    if number == 2:
                        os.kill(probe.observer, signal.SIGKILL)
                    else:
                        probe.finish()
                more(answered, failures)
        finally:
            stop.set()
            thread.join(PATIENCE_S)
        assert not failures
        assert (Path(f"/proc/{pid}/comm")).read_text() == "nginx\n"
    lines = (tmp_path / "access.log").read_text().count("\n")
    assert lines == answered[0] + 1  # and the one that waited until it is ready
    assert json.loads((tmp_path / "seen0.json").read_text())["lost"].keys() >= {"events"}


def more(answered: list[int], failures: list[BaseException]) -> None:
    """Until 230 more requests have been answered."""
    goal, deadline = answered[0] + 230, time.monotonic() + PATIENCE_S
    while answered[0] < goal and not failures:
        assert time.monotonic() < deadline, "the server does not answer any more"
        time.sleep(0.005)


def test_23_requests_are_23_lines_of_the_log(tmp_path: Path) -> None:
    with nginx(tmp_path) as (pid, port), Attached([pid], None, tmp_path / "seen.json") as probe:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(23):
            get(connection)
        probe.finish()
        connection.close()
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert {what: n for what, n in seen["lost"].items() if n} == {}
    log = str(tmp_path / "access.log")
    wrote = [row["count"] for row in seen["traffic"] if row["object"] == log]
    assert wrote == [23]
    [listener] = seen["listeners"]
    assert (listener["port"], listener["accepted"]) == (port, 1)
    assert seen["peaks"]["processes"] == 2
    assert call_number("write") in {row["nr"] for row in seen["calls"]}
