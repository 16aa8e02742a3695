"""Bad input to the command line: one clear message, the promised status, nothing lost or left."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onejob.base import linux
from unprivileged import as_user

Onejob = Callable[..., subprocess.CompletedProcess[str]]
LIVES = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
DIES_LATER = "trap 'echo famous last words; exit 7' USR1; echo up; while :; do sleep 0.05; done"


def workload(folder: Path, script: str = LIVES, more: str = "", **changes: str) -> Path:
    """A workload of a shell script; `changes` replace its lines."""
    lines = {
        "name": '"bad"', "command": f'["sh", "-c", """{script}"""]',
        "ready": '{ log = "up", within = 20 }', **changes,
    }  # fmt: skip
    path = folder / "workload.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in lines.items()) + "\n" + more)
    return path


def refused(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    """It ended as promised, with one message of ours that has `words`."""
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(re.findall("^onejob: ", done.stderr, re.MULTILINE)) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def drill(**lines: str) -> str:
    return '[[drill]]\nname = "it"\n' + "".join(f"{k} = {v}\n" for k, v in lines.items())


# What is wrong -> the workload, the exit status, words that must be said.
ROOT_CASES: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "no such command": (
        {"command": '["no-such-command"]'}, 4, ("'no-such-command' is not found", "PATH"),
    ),
    "no such directory": ({"directory": '"/no/where"'}, 4, ("directory '/no/where'", "not there")),
    "package missing": (
        {"packages": '["no-such-package", "coreutils"]'}, 3,
        ("not installed: no-such-package", "apt-get install --no-install-recommends no-such-pack"),
    ),
}  # fmt: skip

RUN_CASES: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "dies at once": (
        {"script": "echo famous last words; exit 7"}, 5,
        ("bad ended with status 7 before it was ready", "famous last words"),
    ),
    "never ready": (
        {"script": "echo stuck; sleep 100", "ready": '{ log = "up", within = 0.5 }'}, 5,
        ("not ready within 0.5 s", "stuck"),
    ),
    "dies in a drill": (
        {"script": DIES_LATER, "more": drill(signal='"USR1"') + "expect = { within = 0.6, "
         'files = [{ path = "/none", exists = true }] }\n'}, 5,
        ("drill it", "ended with status 7", "famous last words"),
    ),
    "drill prints something else": (
        {"more": drill(run='{ command = ["echo", "201"], prints = "200" }')}, 5,
        ("drill it, run: expected 'echo 201' to print '200'; it printed '201'",),
    ),
    "drill's command is missing": (
        {"more": drill(run='["no-such-tool"]')}, 3, ("no-such-tool is not installed",),
    ),
    "ends with another status": (
        {"stop": "{ status = 3 }"}, 5, ("drill stop", "status 3", "status 0"),
    ),
}  # fmt: skip


@pytest.mark.root
@pytest.mark.parametrize("name", ROOT_CASES)
def test_refused_before_anything_runs(name: str, onejob: Onejob, tmp_path: Path) -> None:
    changes, status, words = ROOT_CASES[name]
    output = tmp_path / "p.xml"
    done = onejob("profile", "-w", workload(tmp_path, **changes), "-o", output)
    refused(done, status, *words)
    assert not output.exists()


@pytest.mark.root
@pytest.mark.ebpf
@pytest.mark.parametrize("name", RUN_CASES)
def test_a_service_or_drill_that_fails(name: str, onejob: Onejob, tmp_path: Path) -> None:
    changes, status, words = RUN_CASES[name]
    output = tmp_path / "p.xml"
    output.write_text("old")
    done = onejob("profile", "-w", workload(tmp_path, **changes), "-o", output)
    refused(done, status, *words)
    assert output.read_text() == "old"


def test_an_unknown_key_is_named_with_its_line(onejob: Onejob, tmp_path: Path) -> None:
    path = workload(tmp_path, more="\n\n" + drill(sginal='"HUP"'))
    line = path.read_text().splitlines().index('sginal = "HUP"') + 1
    refused(onejob("profile", "-w", path), 4, f"{path}:{line}: drill[0].sginal: unknown key")


def test_a_workload_that_is_not_there(onejob: Onejob, tmp_path: Path) -> None:
    refused(onejob("profile", "-w", tmp_path / "none.toml"), 4, "none.toml: No such file")


@pytest.mark.parametrize("text", ["", "<java><object", '<!DOCTYPE x [<!ENTITY e "x">]><java/>'])
def test_a_truncated_or_hostile_profile(text: str, onejob: Onejob, tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    path.write_text(text)
    refused(onejob("build", path, "-o", tmp_path / "image.onejob"), 4, f"{path}:1: ")
    assert os.listdir(tmp_path) == ["p.xml"]


@pytest.mark.root
def test_not_root() -> None:
    words = as_user(sys.executable, "-m", "onejob.cli.main", "profile", "--pid", "1")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd="/")
    refused(done, 4, "process 1: Permission denied", "sudo")


@pytest.mark.root
@pytest.mark.ebpf
def test_a_disk_that_is_full_keeps_the_old_profile(onejob: Onejob, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    linux.mount("test", full, "tmpfs", 0, "size=8k")
    try:
        (full / "p.xml").write_text("old")
        done = onejob("profile", "-w", workload(tmp_path), "-o", full / "p.xml")
        refused(done, 3, f"cannot write {full}/p.xml: No space left on device")
        assert (full / "p.xml").read_text() == "old"
        assert os.listdir(full) == ["p.xml"]
    finally:
        linux.unmount(full)


@pytest.mark.root
def test_a_port_that_somebody_else_has(onejob: Onejob, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        path = workload(tmp_path, network='"host"', ports=f"[{port}]", ready=f"{{ tcp = {port} }}")
        refused(onejob("profile", "-w", path), 3, f"port {port} of this machine", "in use")


# --- interrupted ---------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start profiling a service with a sleep of its own; wait until a line with `text` is said."""
    started: list[subprocess.Popen[str]] = []

    def start(text: str) -> subprocess.Popen[str]:
        path = workload(tmp_path, LIVES.replace("echo up", f"echo up; : {tmp_path}"), SLOW)
        words = [sys.executable, "-m", "onejob.cli.main", "profile", "-w", str(path)]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        started.append(process)
        assert process.stderr is not None
        while text not in (line := process.stderr.readline()):
            assert line, "it ended before that"
        wait_for(lambda: bool(processes_with(f": {tmp_path}")))
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


SLOW = drill(run='["sleep", "1.2"]')


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes_with(text: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text(errors="replace")
        except OSError:
            continue
        if text in words:
            found.append(int(path.parent.name))
    return found


def folder_of(pid: int) -> Path:
    """The run's folder: the program keeps the file open that takes the service's output."""
    folders = (Path(os.readlink(path)).parent for path in Path(f"/proc/{pid}/fd").iterdir())
    places = (Path("/run"), Path("/dev/shm"))
    return next(f for f in folders if f.parent in places and f.name.startswith("onejob-"))


@pytest.mark.root
@pytest.mark.ebpf
@pytest.mark.parametrize(
    ("number", "stage", "status"),
    [
        (signal.SIGINT, "watching calls", 130),
        (signal.SIGTERM, "watching calls", 143),
        (signal.SIGTERM, "watching memory", 143),
    ],
)
def test_interrupted(
    running: Callable[[str], subprocess.Popen[str]],
    number: int, stage: str, status: int, tmp_path: Path,
) -> None:  # fmt: skip
    process = running(stage)
    folder = folder_of(process.pid)
    time.sleep(0.3)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert "Traceback" not in said
    assert "interrupted" in said
    wait_for(lambda: not processes_with(f": {tmp_path}"))
    assert not folder.exists()
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert os.listdir(tmp_path) == ["workload.toml"]


@pytest.mark.root
@pytest.mark.ebpf
@pytest.mark.parametrize("stage", ["watching calls", "watching memory"])
def test_killed(
    running: Callable[[str], subprocess.Popen[str]], stage: str, tmp_path: Path
) -> None:
    """Onejob itself can do nothing then: its guard ends the service and removes the folder."""
    process = running(stage)
    folder = folder_of(process.pid)
    process.kill()
    wait_for(lambda: not processes_with(f": {tmp_path}"))
    wait_for(lambda: not folder.exists())
    wait_for(lambda: not processes_with(str(folder)))
    assert os.listdir(tmp_path) == ["workload.toml"]
