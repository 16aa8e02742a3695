"""Process 1 (`onejob-init`) in a real container: start, seeding, watch and end of one service."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from init_container import CALLS, PTRACE, Container, await_true, policy

pytestmark = [pytest.mark.root, pytest.mark.runc]


# ---- start ------------------------------------------------------------------------------------


def test_service_gets_exactly_the_environment_of_the_plan(container: Container) -> None:
    container.plan["environment"] = ["PATH=/bin", "ONE=1", "EMPTY="]
    container.start("environment")
    container.await_text("ready")
    assert container.console.splitlines() == ["PATH=/bin", "ONE=1", "EMPTY=", "ready"]


def test_service_gets_nothing_that_the_plan_does_not_grant(container: Container) -> None:
    container.start("status")
    container.await_text("ready")
    words = {line.split()[0]: line.split()[1:] for line in container.console.splitlines()}
    granted = f"{1 << 0 | 1 << 5:016x}"
    assert words["CapBnd:"] == words["CapPrm:"] == words["CapEff:"] == [granted]
    assert words["CapInh:"] == words["CapAmb:"] == ["0" * 16]
    assert words["SigBlk:"] == words["SigIgn:"] == ["0" * 16]
    assert words["NoNewPrivs:"] == ["1"]
    assert words["nofile"] == ["64", "128"]
    assert re.findall(r"^open (\d+)$", container.console, re.M) == ["0", "1", "2"]
    assert words["NSsid:"] == [str(container.event("started")["pid"])]


def test_another_user_gets_its_capabilities_as_ambient_ones(container: Container) -> None:
    container.plan |= {"user": 33, "group": 34, "groups": [35, 36], "no_new_privileges": False}
    container.start("status")
    container.await_text("ready")
    words = {line.split()[0]: line.split()[1:] for line in container.console.splitlines()}
    granted = f"{1 << 0 | 1 << 5:016x}"
    assert words["Uid:"] == ["33"] * 4 and words["Gid:"] == ["34"] * 4
    assert words["Groups:"] == ["35", "36"]
    assert words["CapAmb:"] == words["CapEff:"] == words["CapBnd:"] == [granted]
    assert words["NoNewPrivs:"] == ["0"]
    # Without CAP_SYS_PTRACE, process 1 cannot read the executable of another user's process.
    assert [process["program"] for process in container.ask("processes")] == ["[job]"]


def test_root_is_sealed_and_mounts_are_harmless(container: Container) -> None:
    container.start()
    container.await_text("ready")
    text = container.text_of("/proc/1/mounts")
    mounts = {line.split()[1]: line.split()[2:4] for line in text.splitlines()}
    assert "ro" in mounts["/"][1].split(",")
    for path in ("/run", "/var/log/job"):
        assert mounts[path][0] == "tmpfs"
        assert {"rw", "nosuid", "nodev", "noexec"} <= set(mounts[path][1].split(","))
    with pytest.raises(RuntimeError, match=r"^remove /job: Read-only file system$"):
        container.ask("remove", path="/job")


def test_the_service_sees_less_than_process_1(container: Container) -> None:
    proc, _, dev, *_ = container.plan["mounts"]
    proc |= {"read_only": True}
    dev |= {"read_only": True, "devices": ["/dev/null", "/dev/urandom"]}
    container.start()
    container.await_text("ready")

    def modes_of(pid: int) -> dict[str, str]:
        rows = [line.split() for line in container.text_of(f"/proc/{pid}/mounts").splitlines()]
        return {row[1]: row[3].partition(",")[0] for row in rows}

    ours, service = modes_of(1), modes_of(container.event("started")["pid"])
    assert (ours["/proc"], ours["/dev"]) == ("rw", "rw")
    assert (service["/proc"], service["/dev"]) == ("ro", "ro")
    assert "/.onejob/data" in ours and "/.onejob/data" not in service
    assert service["/var/log/job"] == "rw"
    devices = set(container.ask("list", path="/dev")) & {"null", "zero", "full", "urandom"}
    assert devices == {"null", "urandom"}


# ---- seeding ----------------------------------------------------------------------------------


def make_seed(folder: Path) -> None:
    """What the root has: owners, modes, a link that leads out, a directory, an empty file."""
    (folder / "inner").mkdir(mode=0o700)
    (folder / "inner/file").write_bytes(b"seed" * 40_000)
    (folder / "inner/file").chmod(0o4750)
    os.chown(folder / "inner/file", 12, 34)
    os.chmod(folder / "inner/file", 0o4750)
    (folder / "link").symlink_to("/etc/nowhere")
    (folder / "empty").touch(mode=0o604)
    os.chown(folder, 33, 4)
    folder.chmod(0o2751)


def test_seeding_keeps_owner_and_mode_and_happens_once(container: Container) -> None:
    make_seed(container.root / "var/log/job")
    data = container.root / ".onejob/data"
    stale = data / "var/log/job.onejob-unfinished"
    (stale / "half").mkdir(parents=True)
    (data / ".onejob-owner").write_text("job\n")
    container.environment[1] = "ONEJOB_DATA=dir"
    container.start()
    container.await_text("ready")
    assert sorted(container.ask("list", path="/var/log/job")) == ["empty", "inner", "link"]
    assert container.ask("readlink", path="/var/log/job/link") == "/etc/nowhere"
    container.ask("remove", path="/var/log/job/empty")
    container.ask("stop")
    assert container.status() == 0

    seeded = data / "var/log/job"
    top, file = seeded.stat(), (seeded / "inner/file").stat()
    assert (top.st_uid, top.st_gid, top.st_mode & 0o7777) == (33, 4, 0o2751)
    assert (file.st_uid, file.st_gid, file.st_mode & 0o7777) == (12, 34, 0o4750)
    assert (seeded / "inner/file").read_bytes() == b"seed" * 40_000
    assert not stale.exists()

    container.start()  # a second boot finds what the first one left
    container.event("started")
    assert sorted(container.ask("list", path="/var/log/job")) == ["inner", "link"]


def test_tmpfs_is_seeded_too(container: Container) -> None:
    (container.root / "run/lock").mkdir(mode=0o755)
    os.chown(container.root / "run/lock", 7, 8)
    container.plan["mounts"][3]["mode"] = 0o1777
    container.start()
    container.event("started")
    run = container.outside("/run")
    assert run.stat().st_mode & 0o7777 == 0o1777
    assert ((run / "lock").stat().st_uid, (run / "lock").stat().st_gid) == (7, 8)


def test_files_of_counts_are_the_services_users(container: Container) -> None:
    container.plan |= {"user": 33, "group": 34, "no_new_privileges": False}
    container.plan["counts"] = ["/run", 2, 8192]
    container.start()
    container.await_text("ready")
    for name in ("1.counts", "2.counts"):
        state = container.outside(f"/run/{name}").stat()
        assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (33, 34, 0o600)
        assert (state.st_size, state.st_blocks * 512) == (8192, 8192)


def test_a_link_on_the_data_partition_is_not_followed(container: Container) -> None:
    (container.root / "etc").mkdir()
    (container.root / ".onejob/data/.onejob-owner").write_text("job\n")
    (container.root / ".onejob/data/var").symlink_to("/etc")
    container.environment[1] = "ONEJOB_DATA=dir"
    container.start()
    assert container.status() == 1
    assert "cannot make directory var of /var/log: Not a directory" in container.console
    assert list((container.root / "etc").iterdir()) == []


# ---- the running service ----------------------------------------------------------------------


def test_orphans_are_reaped(container: Container) -> None:
    container.start("orphans")
    container.await_text("ready")
    main = container.event("started")["pid"]

    def left() -> list[int]:
        return [process["pid"] for process in container.ask("processes")]

    await_true(lambda: left() == [main], lambda: f"still there: {left()}")
    names = container.ask("list", path="/proc")
    assert sorted(name for name in names if name.isdigit()) == ["1", str(main)]


def test_processes_are_described(container: Container) -> None:
    container.start()
    container.await_text("ready")
    [process] = container.ask("processes")
    assert process["pid"] == container.event("started")["pid"]
    assert process["ppid"] == 1 and process["start"] > 0 and process["program"] == "/job"


def test_signal_reaches_the_main_process(container: Container) -> None:
    container.start()
    container.await_text("ready")
    container.ask("signal", signal=int(signal.SIGHUP))
    container.await_text("got HUP")
    with pytest.raises(RuntimeError, match="signal needs `signal`, a number from 1 to 64"):
        container.ask("signal", signal=65)


def test_signal_reaches_another_process_of_the_service_and_never_process_1(
    container: Container,
) -> None:
    container.start()
    container.await_text("ready")
    main = container.event("started")["pid"]
    container.ask("signal", signal=int(signal.SIGHUP), pid=main)
    container.await_text("got HUP")
    for pid in (1, 0, -1):
        with pytest.raises(RuntimeError, match=f"{pid} is no process of "):
            container.ask("signal", signal=int(signal.SIGKILL), pid=pid)
    with pytest.raises(RuntimeError, match="signal 1: "):
        container.ask("signal", signal=int(signal.SIGHUP), pid=30_000)


def test_signals_to_process_1_are_passed_on(container: Container) -> None:
    container.start()
    container.await_text("ready")
    subprocess.run(["runc", "kill", container.name, "USR1"], check=True, timeout=60)
    container.await_text("got USR1")


# ---- denied system calls ----------------------------------------------------------------------


def test_denied_call_gets_eperm_and_the_service_survives(container: Container) -> None:
    container.start("denied")
    container.await_text("ready")
    assert "ptrace: Operation not permitted" in container.console
    container.await_text("refused system call 101 of /job")
    assert container.console.count("refused system call 101 of /job") == 1
    event = container.event("denied")
    assert (event["program"], event["call"], event["count"]) == ("/job", PTRACE, 1)
    assert event["args"][:3] == ["0", "1", "2"]
    assert event["pid"] == container.event("started")["pid"]
    [denial] = container.ask("denials")
    assert (denial["program"], denial["call"], denial["count"]) == ("/job", PTRACE, 23)


def test_audit_lets_the_call_through(container: Container) -> None:
    container.plan["denied"] = "audit"
    container.start("denied")
    container.event("denied")
    # Process 1 and the service write the console each in its own time.
    container.await_text("ptrace: allowed")
    container.await_text("would refuse system call 101 of /job")


def test_denied_execve_does_not_hang(container: Container) -> None:
    container.policy = policy(without=frozenset({CALLS["execve"]}))
    container.start()
    assert container.status() == 127
    assert "cannot execute /job: Operation not permitted" in container.console
    assert [event["event"] for event in container.rest()] == ["denied", "exited"]


def test_without_a_filter_nothing_is_refused_or_counted(container: Container) -> None:
    container.plan["denied"] = "off"
    container.start("denied")
    container.await_text("ptrace: allowed")
    assert container.ask("denials") == []


def test_execve_is_let_through_in_an_audit(container: Container) -> None:
    container.policy = policy(without=frozenset({CALLS["execve"]}))
    container.plan["denied"] = "audit"
    container.start()
    container.await_text("ready")
    assert container.event("denied")["call"] == CALLS["execve"]


# ---- the end ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "event", "status", "sentence"),
    [
        (("exit", "0"), {"status": 0}, 0, "job exited with status 0"),
        (("exit", "23"), {"status": 23}, 23, "job exited with status 23"),
        (("die", "9"), {"signal": 9}, 137, "job was ended by signal 9"),
        (("die", "15"), {"signal": 15}, 143, "job was ended by signal 15"),
    ],
)
def test_the_end_of_the_main_process_is_told(
    container: Container, words: tuple[str, ...], event: dict[str, int], status: int, sentence: str
) -> None:
    container.start(*words)
    assert container.status() == status
    assert container.rest()[-1] == {"event": "exited", **event}
    assert container.console.splitlines()[-1] == f"onejob: {sentence}"


def test_stop_uses_the_stop_signal(container: Container) -> None:
    container.start()
    container.await_text("ready")
    container.ask("stop")
    assert container.event("exited") == {"event": "exited", "status": 0}
    assert container.status() == 0
    assert "quitting" in container.console


def test_sigterm_to_process_1_stops_the_service(container: Container) -> None:
    container.start()
    container.await_text("ready")
    subprocess.run(["runc", "kill", container.name, "TERM"], check=True, timeout=60)
    assert container.status() == 0
    assert "quitting" in container.console


def test_a_service_that_does_not_stop_is_killed(container: Container) -> None:
    container.plan["stop_timeout_ms"] = 300
    container.start("deaf")
    container.await_text("ready")
    container.ask("stop")
    assert container.event("exited") == {"event": "exited", "signal": 9}
    assert container.status() == 137
    assert "job does not stop: killed" in container.console


def test_the_rest_of_the_service_is_killed_at_the_end(container: Container) -> None:
    container.start("leave")
    begin = time.monotonic()
    assert container.status() == 3
    assert "stubborn" in container.console
    assert time.monotonic() - begin >= 2  # SIGTERM first, which this one ignores
