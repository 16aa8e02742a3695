"""A snapshot has all that was seen so far, and the watch goes on; a full disk is no end either."""

import os
import signal
from pathlib import Path

import pytest
from probe_driver import Probe, Recording, compile_known

from onejob.base import linux

pytestmark = pytest.mark.root

TIMES = 23


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_known(tmp_path_factory.mktemp("workload"))


def snapshot(probe: Probe) -> Recording:
    probe.ask(snapshot=True)
    assert probe.expect("snapshot") == str(probe.output)
    return Recording(probe.output)


def burst(probe: Probe, pid: int, times: int) -> None:
    os.kill(pid, signal.SIGUSR1)
    probe.wait_for_log("burst", times)


def test_each_snapshot_is_exact_and_says_that_it_is_not_the_end(
    known: Path, tmp_path: Path, backend: str
) -> None:
    with Probe(tmp_path, known, "bursts", backend=backend) as probe:
        pid = probe.expect("started")
        probe.wait_for_log("ready")
        for times in (1, 2, 3):
            probe.ask(drill=f"serve#{times}")
            probe.expect("drill")
            burst(probe, pid, times)
            seen = snapshot(probe)
            assert seen.lost() == {"not_finished": 1}
            by_drill = {row["drill"]: row["count"] for row in seen.rows("calls", "getppid")}
            assert by_drill == dict.fromkeys(range(1, times + 1), TIMES)
        last = probe.finish()
    assert last.lost() == {}
    assert last.count("getppid") == 3 * TIMES
    assert last.data["drills"] == ["start", "serve#1", "serve#2", "serve#3"]
    assert {path.name for path in tmp_path.iterdir()} == {"recording.json", "log"}


def test_a_full_disk_keeps_the_snapshot_before_and_the_watch_goes_on(
    known: Path, tmp_path: Path, backend: str
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    linux.mount("test", full, "tmpfs", 0, "size=256k")
    try:
        with Probe(full, known, "bursts", log=tmp_path / "log", backend=backend) as probe:
            pid = probe.expect("started")
            probe.wait_for_log("ready")
            burst(probe, pid, 1)
            before = snapshot(probe).data
            filler = full / "filler"
            with pytest.raises(OSError, match="No space left"):
                filler.write_bytes(bytes(1 << 20))
            burst(probe, pid, 2)
            probe.ask(snapshot=True)
            answer = probe.read()
            assert answer["error"].startswith(f"cannot write {probe.output}: No space left")
            assert "free space" in answer["hint"]
            assert Recording(probe.output).data == before
            assert {path.name for path in full.iterdir()} == {"recording.json", "filler"}
            filler.unlink()
            last = probe.finish()
        assert last.lost() == {}
        assert last.count("getppid") == 2 * TIMES
    finally:
        linux.unmount(full)
