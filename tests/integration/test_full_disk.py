"""No room for what the probe writes: clear words, and the profile that was there is still there."""

import subprocess
import sys
from pathlib import Path

import pytest

WORKLOAD = """\
name = "roomy"
command = ["sh", "-c", "echo up; while :; do sleep 0.05; done"]
ready = { log = "up", within = 20 }
"""
# In a mount namespace of its own, /run has 1 MiB, and all but two pages are taken.
IN_A_FULL_RUN = """
mount -t tmpfs -o size=1m none /run
head -c 1040384 /dev/zero > /run/filler
exec "$@"
"""


@pytest.mark.root
@pytest.mark.ebpf
def test_a_run_folder_without_room(tmp_path: Path) -> None:
    (tmp_path / "workload.toml").write_text(WORKLOAD)
    output = tmp_path / "p.xml"
    output.write_text("old")
    words = [sys.executable, "-m", "onejob.cli.main", "profile"]
    words += ["-w", str(tmp_path / "workload.toml"), "-o", str(output)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", IN_A_FULL_RUN, "sh", *words],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert "cannot write /run/onejob-" in done.stderr
    assert output.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"workload.toml", "p.xml"}
