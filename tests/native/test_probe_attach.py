"""Attaching to what runs already: seen exactly, and left alone whatever becomes of the probe."""

import errno
import functools
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from probe_driver import (
    PATIENCE,
    Attach,
    Recording,
    bpf_programs_of,
    is_loaded,
    is_running,
    wait_until,
)

from running_service import LATER, TIMES, WAITING, Running, compile_service, end, running

pytestmark = [pytest.mark.ebpf, pytest.mark.root]

CGROUPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup")
SPECIAL = {"socket": 41, "bind": 49, "listen": 50}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_service(tmp_path_factory.mktemp("workload"))


@pytest.fixture
def service(program: Path, tmp_path: Path) -> Iterator[Running]:
    with running(program, tmp_path) as service:
        yield service


def attach(folder: Path, service: Running) -> Attach:
    return Attach(folder, "--pid", str(service.pid))


def test_the_calls_of_every_thread_and_descendant_are_counted(
    service: Running, tmp_path: Path
) -> None:
    with attach(tmp_path, service) as probe:
        assert sorted(probe.expect("attached")) == sorted(service.pids)
        service.work()
        recording = probe.finish()
    assert recording.lost() == {}
    assert recording.data["drills"] == ["serve"]
    assert recording.count("getppid") == (WAITING + LATER) * TIMES
    assert recording.count("write") == WAITING + LATER
    assert recording.count("clone") + recording.count("clone3") == LATER
    assert recording.count("read") == 0  # those began before the watch
    starts = {row["how"]: row["count"] for row in recording.data["starts"]}
    assert starts == {"fork": 1, "thread": 1}
    assert service.all_running()


def test_peaks_begin_with_what_is_there(service: Running, tmp_path: Path) -> None:
    with attach(tmp_path, service) as probe:
        probe.expect("attached")
        service.work()
        recording = probe.finish()
    assert recording.peaks["processes"] == 3 + 1
    assert recording.peaks["threads"] == WAITING + LATER
    assert recording.peaks["sockets"] == 1
    assert recording.peaks["pipes"] == 2  # its own, and an end each of our two


def test_what_it_holds_is_in_the_recording(service: Running, program: Path, tmp_path: Path) -> None:
    with attach(tmp_path, service) as probe:
        probe.expect("attached")
        recording = probe.finish()
    assert recording.files("execve", role="exec") == {str(program): 1}
    flags = os.O_WRONLY | os.O_APPEND | 0o100000  # O_LARGEFILE, which the kernel adds
    assert recording.files("openat", flags=flags) == {str(service.log): 1}
    libc = os.path.realpath("/lib/x86_64-linux-gnu/libc.so.6")
    assert {str(program), libc} <= recording.files("mmap", role="map").keys()
    [listener] = recording.data["listeners"]
    assert listener["address"] == "127.0.0.1"
    assert listener["backlog"] == 23
    assert (listener["family"], listener["type"]) == (socket.AF_INET, socket.SOCK_STREAM)
    [identity] = recording.data["identities"]
    assert (identity["uid"], identity["gid"]) == (os.getuid(), os.getgid())
    assert not any(row["nr"] in SPECIAL.values() for row in recording.data["calls"])


def test_drills_are_told_apart(service: Running, tmp_path: Path) -> None:
    with attach(tmp_path, service) as probe:
        probe.expect("attached")
        probe.ask(drill="reload")
        assert probe.expect("drill") == "reload"
        service.work()
        recording = probe.finish()
    assert recording.count("getppid", drill=1) == (WAITING + LATER) * TIMES
    assert recording.count("getppid", drill=0) == 0


@pytest.mark.parametrize("way", ["terminated", "input ends"])
def test_the_end_of_the_probe_leaves_the_service_alone(
    service: Running, tmp_path: Path, way: str
) -> None:
    with attach(tmp_path, service) as probe:
        probe.expect("attached")
        if way == "terminated":
            probe.process.terminate()
        else:
            assert probe.process.stdin is not None
            probe.process.stdin.close()
        assert probe.expect("recorded") == str(probe.output)
        assert probe.process.wait(PATIENCE) == 0
    service.work()
    assert service.all_running()


def test_a_probe_that_is_killed_leaves_the_service_alone(service: Running, tmp_path: Path) -> None:
    with attach(tmp_path, service) as probe:
        probe.expect("attached")
        programs = bpf_programs_of(probe.process.pid)
        service.work()
        probe.process.kill()
        assert probe.expect("saved") == str(probe.output)
    recording = Recording(probe.output)
    assert recording.lost() == {"probe_killed": 1}
    assert recording.count("getppid") == (WAITING + LATER) * TIMES
    assert service.all_running()
    assert programs
    wait_until(lambda: not any(map(is_loaded, programs)), "eBPF programs are left behind")


def test_the_watch_ends_with_the_service(service: Running, tmp_path: Path) -> None:
    with attach(tmp_path, service) as probe:
        probe.expect("attached")
        service.work()
        end(service)
        assert probe.expect("recorded") == str(probe.output)
    assert Recording(probe.output).count("getppid") == (WAITING + LATER) * TIMES


@contextmanager
def made_cgroup() -> Iterator[Path]:
    parent = next(Path(path) for path in CGROUPS if (Path(path) / "cgroup.procs").exists())
    folder = parent / f"onejob-test-{uuid.uuid4().hex[:12]}"
    folder.mkdir()
    try:
        yield folder
    finally:
        for each in sorted(folder.rglob("**"), reverse=True):
            wait_until(functools.partial(is_removed, each), f"{each} stays in use")


def is_removed(cgroup: Path) -> bool:
    """A cgroup is in use until its last process has been waited for."""
    try:
        cgroup.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def join(folder: Path) -> None:
    (folder / "cgroup.procs").write_text("0")


def test_a_cgroup_is_watched_with_those_who_join_later(program: Path, tmp_path: Path) -> None:
    with made_cgroup() as folder:
        (tmp_path / "later").mkdir()
        inner = folder / "inner"
        inner.mkdir()
        with (
            running(program, tmp_path, lambda: join(inner)) as first,
            Attach(tmp_path, "--cgroup", folder) as probe,
        ):
            assert sorted(probe.expect("attached")) == sorted(first.pids)
            with running(program, tmp_path / "later", lambda: join(folder)) as second:
                wait_until_watched(probe, second)
                first.work()
                second.work()
                recording = probe.finish()
                assert first.all_running()
                assert second.all_running()
    assert recording.count("getppid") == 2 * (WAITING + LATER) * TIMES


def wait_until_watched(probe: Attach, service: Running) -> None:
    """The probe looks at the cgroup now and then, and says whom it has taken in."""
    while not set(service.pids) <= set(probe.expect("attached")):
        pass


def test_an_empty_or_absent_cgroup_is_refused(tmp_path: Path) -> None:
    with made_cgroup() as folder:
        assert refusal(tmp_path, 1, "--cgroup", folder).startswith("no process is in ")
    assert "cgroup.procs" in refusal(tmp_path, 1, "--cgroup", folder)


def refusal(folder: Path, status: int, *chosen: str | Path) -> str:
    with Attach(folder, *chosen) as probe:
        said = str(probe.read()["error"])
        assert probe.process.wait(PATIENCE) == status
    assert not probe.output.exists()
    return said


def test_what_cannot_be_watched_is_refused(tmp_path: Path) -> None:
    assert "process 1" in refusal(tmp_path, 1, "--pid", "1")
    assert "itself" in refusal(tmp_path, 1, "--pid", str(os.getpid()))
    assert "no process" in refusal(tmp_path, 1, "--pid", "4194305")
    assert "not the number" in refusal(tmp_path, 2, "--pid", "-1")
    assert "give either" in refusal(tmp_path, 2)
    assert "give either" in refusal(tmp_path, 2, "--pid", "2", "--cgroup", "/sys")


def test_a_kernel_thread_is_refused(tmp_path: Path) -> None:
    name = Path("/proc/2/comm")
    if not name.exists() or name.read_text() != "kthreadd\n":
        pytest.skip("no kernel thread is visible here")
    assert "kernel" in refusal(tmp_path, 1, "--pid", "2")


def test_the_dead_are_refused(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert "has ended" in refusal(tmp_path, 1, "--pid", str(process.pid))
    finally:
        process.wait()
    assert "no process" in refusal(tmp_path, 1, "--pid", str(process.pid))


def test_forks_go_on_while_the_watch_begins(tmp_path: Path) -> None:
    """None escapes: whoever is started under watch is seen with all 23 calls."""
    program = tmp_path / "storm"
    source = Path(__file__).parent / "workload_storm.c"
    words = ["gcc", "-O1", "-Wall", "-Werror", "-pthread", "-o", str(program), str(source)]
    subprocess.run(words, check=True, timeout=60)
    process = subprocess.Popen([program])
    try:
        for _ in range(5):
            with Attach(tmp_path, "--pid", str(process.pid)) as probe:
                probe.expect("attached")
                time.sleep(0.3)
                os.kill(process.pid, signal.SIGSTOP)  # then those that have begun come to their end
                wait_until(lambda: living_children(process.pid) == 0, "a child does not end")
                recording = probe.finish()
            os.kill(process.pid, signal.SIGCONT)
            assert recording.lost() == {}
            [started] = [r["count"] for r in recording.data["starts"] if r["how"] == "thread"]
            on_their_way = recording.peaks["processes"]  # at most, when the watch began
            for name in ("getppid", "getpgrp"):
                assert started * TIMES <= recording.count(name) <= (started + on_their_way) * TIMES
    finally:
        process.kill()
        process.wait()


def living_children(pid: int) -> int:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return sum(is_running(int(child)) for child in text.split())
