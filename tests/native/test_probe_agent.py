"""The probe as an agent: one static file on a machine that has nothing else of ours."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from probe_driver import NR, PATIENCE

from onejob.base.natives import native_path
from running_service import LATER, TIMES, WAITING, compile_service, running


def test_it_is_static() -> None:
    """ldd(1) says so by its status, too."""
    done = subprocess.run(["ldd", native_path("onejob-probe")], capture_output=True, text=True)
    assert "statically linked" in done.stdout + done.stderr or "not a dynamic" in done.stderr


@pytest.mark.root
@pytest.mark.ebpf
def test_it_records_where_there_is_nothing_else(tmp_path: Path) -> None:
    """In a root that holds the agent, /proc and /sys only."""
    root = tmp_path / "root"
    for name in ("proc", "sys"):
        (root / name).mkdir(parents=True)
    shutil.copy(native_path("onejob-probe"), root / "agent")
    program = compile_service(tmp_path)
    with running(program, tmp_path) as service:
        script = 'mount --rbind /proc "$0/proc" && mount --rbind /sys "$0/sys" && exec chroot "$@"'
        words = [root, root, "/agent", "attach", "--output", "/seen.json", "--pid", service.pid]
        agent = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert agent.stdin is not None
        assert agent.stdout is not None
        assert set(json.loads(agent.stdout.readline())["attached"]) == set(service.pids)
        service.work()
        out, _ = agent.communicate(b'{"finish": true}\n', PATIENCE)
        assert json.loads(out) == {"recorded": "/seen.json"}
        assert service.all_running()
    seen = json.loads((root / "seen.json").read_text())
    calls = [row["count"] for row in seen["calls"] if row["nr"] == NR["getppid"]]
    assert calls == [(WAITING + LATER) * TIMES]
    assert seen["programs"][0]["path"] == os.path.realpath(program)
