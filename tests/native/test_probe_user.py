"""The watched command may be another user than the probe, and nothing of the change is recorded."""

import os
import subprocess
from pathlib import Path

import pytest
from probe_driver import Probe

from onejob.base.natives import native_path

pytestmark = pytest.mark.root

SCRIPT = "id -u; id -g; id -G; grep CapEff /proc/self/status | tr -dc 1-9; echo done; sleep 100"


def test_a_command_that_refuses_to_be_root(tmp_path: Path, backend: str) -> None:
    """It would otherwise need setpriv or su, which would then stand in the profile."""
    with Probe(tmp_path, "/bin/sh", "-c", SCRIPT, user="65534:65533:7,8", backend=backend) as probe:
        main = probe.expect("started")
        log = probe.wait_for_log("done")
        recording = probe.finish()
    assert log.split() == ["65534", "65533", "65533", "7", "8", "done"]
    assert not os.path.exists(f"/proc/{main}")
    shell = next(i for i, path in enumerate(recording.programs) if path.endswith("sh"))
    for name in ("setuid", "setresuid", "setresgid", "setgroups"):
        assert recording.count(name, program=shell) == 0
    assert not [path for path in recording.programs if "onejob" in path or "setpriv" in path]


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("words", ["", "1", "1:2", "a:2:", "1:2:x", "1:2:3:4", "-1:2:"])
def test_numbers_are_needed(tmp_path: Path, words: str) -> None:
    probe = [native_path("onejob-probe"), "record", "--output", tmp_path / "r", "--user", words]
    done = subprocess.run(
        [*probe, "--", "/bin/true"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=20,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--user needs UID:GID:GROUPS" in done.stdout
