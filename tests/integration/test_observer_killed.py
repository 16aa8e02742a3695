"""The observer killed in the middle of ``onejob profile``: a clear message, and nothing runs on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from onejob.profiler.recording import read_recording

pytestmark = [pytest.mark.root, pytest.mark.ebpf]

PATIENCE_S = 30
# The mark is what its processes are found by; the child has left its session and its parent.
SERVICE = "(setsid sleep 1000.{mark} &) ; echo up; while :; do sleep 0.05; done; : {mark}"
WORKLOAD = """\
name = "lives-on"
command = ["sh", "-c", "{script}"]
ready = {{ log = "up", within = 20 }}
[[drill]]
name = "wait"
run = ["sleep", "3"]
"""


def processes_with(word: str) -> Iterator[int]:
    """Processes that have `word` in their command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if word.encode() in (folder / "cmdline").read_bytes():
                yield int(folder.name)


def test_the_service_is_ended_by_onejob_then(tmp_path: Path) -> None:
    mark = str(os.getpid())
    text = WORKLOAD.format(script=SERVICE.format(mark=mark))
    (tmp_path / "workload.toml").write_text(text)
    output = tmp_path / "p.xml"
    words = ["profile", "-w", str(tmp_path / "workload.toml"), "-o", str(output)]
    with subprocess.Popen(
        [sys.executable, "-m", "onejob.cli.main", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            kill_observer(process.pid, mark)
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 5, said
    assert "Traceback" not in said
    assert "onejob-probe" in said
    assert not output.exists()
    kept = tmp_path / "lives-on.recording.json"
    assert f"what it saw until then is in {kept}" in " ".join(said.split())
    seen = read_recording(kept)
    assert seen.lost["probe_killed"] == 1
    assert {"start", "wait"} == set(seen.drills)
    assert any(program.path.endswith("/sleep") for program in seen.programs)
    assert list(processes_with(mark)) == []
    assert list(processes_with("onejob-probe record --output " + str(tmp_path))) == []


def kill_observer(onejob: int, mark: str) -> None:
    """Kill the probe that `onejob` started, once the service has two processes with `mark`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        children = Path(f"/proc/{onejob}/task/{onejob}/children").read_text().split()
        probes = [pid for pid in map(int, children) if pid in processes_with("onejob-probe")]
        if probes and len([*processes_with(mark)]) >= 2 + len(probes):
            time.sleep(0.5)  # until the drill runs
            os.kill(probes[0], signal.SIGKILL)
            return
        time.sleep(0.02)
    pytest.fail("the service was not seen to run under the observer")
