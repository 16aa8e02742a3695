"""The probe killed with -9: the service goes on, what was seen is saved, nothing is left."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from probe_driver import (
    Probe,
    Recording,
    bpf_programs_of,
    compile_known,
    is_loaded,
    is_running,
    wait_until,
)

pytestmark = pytest.mark.root

TIMES = 23


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_known(tmp_path_factory.mktemp("workload"))


@contextmanager
def ended(pid: int) -> Iterator[None]:
    """A service that outlives its probe is ended by its number."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid), "the service does not end")


def keepers(recording: Path) -> list[int]:
    """Processes of ours that have to do with a recording."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(recording).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def burst(probe: Probe, pid: int, times: int) -> None:
    os.kill(pid, signal.SIGUSR1)
    probe.wait_for_log("burst", times)


def test_the_service_goes_on_and_what_was_seen_is_saved(
    known: Path, tmp_path: Path, backend: str
) -> None:
    with Probe(tmp_path, known, "bursts", first_drill="boot", backend=backend) as probe:
        pid = probe.expect("started")
        with ended(pid):
            probe.wait_for_log("ready")
            probe.ask(drill="serve")
            probe.expect("drill")
            burst(probe, pid, 1)
            programs = bpf_programs_of(probe.process.pid)
            assert all(map(is_loaded, programs))
            assert (len(programs) >= 5) == (backend == "ebpf")
            assert len(keepers(probe.output)) == 2  # the probe, and its keeper or tracer
            probe.process.kill()
            assert probe.expect("saved") == str(probe.output)
            burst(probe, pid, 2)
            assert is_running(pid)
            wait_until(lambda: not keepers(probe.output), "the keeper does not end")
            wait_until(lambda: not any(map(is_loaded, programs)), "an eBPF program is left")
    recording = Recording(probe.output)
    assert recording.lost() == {"probe_killed": 1}
    assert recording.data["drills"] == ["boot", "serve"]
    by_drill = {row["drill"]: row["count"] for row in recording.rows("calls", "getppid")}
    assert by_drill == {1: TIMES}
    assert recording.programs == [str(known)]
    assert list(tmp_path.glob("*.tmp")) == []


def test_the_probes_whole_group_killed_is_no_worse(
    known: Path, tmp_path: Path, backend: str
) -> None:
    with Probe(tmp_path, known, "bursts", new_session=True, backend=backend) as probe:
        pid = probe.expect("started")
        with ended(pid):
            probe.wait_for_log("ready")
            burst(probe, pid, 1)
            os.killpg(probe.process.pid, signal.SIGKILL)
            assert probe.expect("saved") == str(probe.output)
            assert is_running(pid)
    assert Recording(probe.output).count("getppid") == TIMES


@pytest.mark.ebpf
def test_a_keeper_that_is_killed_does_not_disturb_the_probe(known: Path, tmp_path: Path) -> None:
    with Probe(tmp_path, known, "bursts") as probe:
        pid = probe.expect("started")
        probe.wait_for_log("ready")
        for keeper in set(keepers(probe.output)) - {probe.process.pid}:
            os.kill(keeper, signal.SIGKILL)
        burst(probe, pid, 1)
        recording = probe.finish()
    assert recording.lost() == {}
    assert recording.count("getppid") == TIMES


def test_a_good_end_leaves_no_keeper(tmp_path: Path, backend: str) -> None:
    with Probe(tmp_path, "true", backend=backend) as probe:
        probe.expect("started")
        probe.expect("exited")
        programs = bpf_programs_of(probe.process.pid)
        assert bool(programs) == (backend == "ebpf")
        assert probe.finish().lost() == {}
        assert keepers(probe.output) == []
        wait_until(lambda: not any(map(is_loaded, programs)), "an eBPF program is left")


def test_a_command_that_cannot_start_leaves_no_recording_and_no_keeper(
    tmp_path: Path, backend: str
) -> None:
    with Probe(tmp_path, "no-such-command", backend=backend) as probe:
        assert "cannot execute" in probe.read()["error"]
        assert probe.process.wait(20) == 127
        assert keepers(probe.output) == []
    assert not probe.output.exists()


def test_a_full_disk_is_told_by_the_keeper(known: Path, tmp_path: Path, backend: str) -> None:
    """Nothing half-written, an older recording intact."""
    small = tmp_path / "onejob-small"
    small.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "onejob", small], check=True, timeout=20
    )
    try:
        (small / "recording.json").write_text("the older one")
        with Probe(small, known, "bursts", log=tmp_path / "log", backend=backend) as probe:
            pid = probe.expect("started")
            with ended(pid):
                probe.wait_for_log("ready")
                probe.process.kill()
                assert "No space left on device" in probe.read()["error"]
                wait_until(lambda: not keepers(probe.output), "the keeper does not end")
        assert [path.name for path in small.iterdir()] == ["recording.json"]
        assert probe.output.read_text() == "the older one"
    finally:
        subprocess.run(["umount", small], check=True, timeout=20)
