"""The observer, driven from outside with workloads that do exactly 23 of each thing."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from probe_driver import PATIENCE, Probe, Recording, is_running, record

from onejob.base.natives import native_path
from onejob.model.errors import OnejobError

pytestmark = pytest.mark.root

SOURCE = Path(__file__).parent / "workload_known.c"
TIMES = 23
ENOENT, EBADF, ECONNREFUSED = 2, 9, 111
SHARED, READ = 1, 1


@pytest.fixture(scope="module", autouse=True)
def built_probe() -> Path:
    try:
        return native_path("onejob-probe")
    except OnejobError as error:
        pytest.skip(f"onejob-probe is not built: {error.what}")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("workload") / "known"
    options = ["-O1", "-Wall", "-Werror", "-pthread", "-o", str(program)]
    subprocess.run(["gcc", *options, str(SOURCE)], check=True, timeout=60)
    return program


class Counts:
    """What the workload `counts` was recorded to do, and the folder it worked in."""

    def __init__(self, folder: Path, known: Path, backend: str) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        self.program = known
        self.recording = record(folder, known, "counts", self.files, backend=backend)


@pytest.fixture(scope="module")
def counts(known: Path, backend: str, tmp_path_factory: pytest.TempPathFactory) -> Counts:
    return Counts(tmp_path_factory.mktemp("counts"), known, backend)


PLAIN_CALLS = [
    *("getppid", "sched_yield", "socketpair", "setsockopt", "connect", "fork", "wait4"),
    *("renameat2", "rename", "unlinkat", "rmdir", "symlink"),
]


@pytest.mark.parametrize("name", PLAIN_CALLS)
def test_23_calls_are_23(counts: Counts, name: str) -> None:
    assert counts.recording.count(name) == TIMES


def test_the_exec_that_starts_the_command_is_its_first_call(counts: Counts) -> None:
    assert counts.recording.programs == [str(counts.program)]
    assert counts.recording.count("execve") == 1
    assert counts.recording.files("execve") == {str(counts.program): 1}


def test_23_failures_are_23(counts: Counts) -> None:
    assert counts.recording.errors("read") == {EBADF: TIMES}
    assert counts.recording.errors("connect") == {ECONNREFUSED: TIMES}
    assert counts.recording.errors("getppid") == {}


def test_23_missing_files_are_missing_at_their_absolute_path(counts: Counts) -> None:
    missing = counts.recording.files("openat", error=ENOENT, role="path")
    assert missing == {f"{counts.files}/sub/missing": TIMES}


def test_23_files_are_created_once_and_then_only_opened(counts: Counts) -> None:
    paths = {f"{counts.files}/absolute{i:02}": 1 for i in range(TIMES)}
    flags = os.O_WRONLY | os.O_CREAT
    assert counts.recording.files("openat", created=True, flags=flags) == paths
    assert counts.recording.files("openat", created=False, flags=flags) == paths


def test_23_files_relative_to_a_descriptor(counts: Counts) -> None:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    found = counts.recording.files("openat", flags=flags, created=True)
    assert found == {f"{counts.files}/sub/folder00/inside{i:02}": 1 for i in range(TIMES)}


def test_both_paths_of_23_renames(counts: Counts) -> None:
    sub = counts.files / "sub"
    by_descriptor = counts.recording.files("renameat2", role="from")
    assert by_descriptor == {f"{sub}/folder00/inside{i:02}": 1 for i in range(TIMES)}
    to = counts.recording.files("renameat2", role="to")
    assert to == {f"{sub}/moved{i:02}": 1 for i in range(TIMES)}
    assert counts.recording.files("rename", role="from") == {
        f"{sub}/link{i:02}": 1 for i in range(TIMES)
    }


def test_chdir_is_completed_from_where_it_left(counts: Counts) -> None:
    found = counts.recording.files("chdir")
    assert found == {str(counts.files): 1, f"{counts.files}/sub": 1}


def test_23_maps_of_a_file(counts: Counts) -> None:
    found = counts.recording.files("mmap", role="map", flags=READ)
    assert found[str(counts.program)] == TIMES
    assert counts.recording.facts("mmap")[(READ, SHARED)] == TIMES


def test_facts_of_sockets(counts: Counts) -> None:
    unix, stream, level, reuse = 1, 1, 1, 2
    assert counts.recording.facts("socket") == {(unix, stream, 0): 3 * TIMES}
    assert counts.recording.facts("setsockopt") == {(level, reuse): TIMES}
    assert counts.recording.facts("bind") == {(unix, 0): 1}


def test_paths_of_unix_sockets(counts: Counts) -> None:
    path = f"{counts.files}/sub/socket"
    assert counts.recording.files("bind", role="bind") == {path: 1}
    # the address of connect ends by its length, not by NUL
    assert counts.recording.files("connect", role="connect", error=ECONNREFUSED) == {path: TIMES}


def test_peaks_are_what_was_alive_at_once(counts: Counts) -> None:
    peaks = counts.recording.peaks
    assert peaks["processes"] == TIMES + 1
    assert peaks["threads"] == TIMES + 1
    assert peaks["sockets"] == TIMES
    assert peaks["pipes"] == TIMES
    assert peaks["descriptors"] == 3 + 2 * TIMES


def test_peaks_of_the_only_program_are_those_of_all(counts: Counts, known: Path) -> None:
    peaks = counts.recording.program_peaks(str(known))
    assert peaks == (TIMES + 1, TIMES + 1, 3 + 2 * TIMES)


def test_threads_alive_at_once(known: Path, tmp_path: Path, backend: str) -> None:
    peaks = record(tmp_path, known, "threads", backend=backend).peaks
    assert (peaks["processes"], peaks["threads"]) == (1, TIMES + 1)


def test_threads_on_all_processors_lose_nothing(known: Path, tmp_path: Path, backend: str) -> None:
    recording = record(tmp_path, known, "hammer", backend=backend)
    assert recording.count("getppid") == 60_000
    here = Path.cwd()
    names = ["/missing/0", "/missing/4", f"{here}/missing-1", f"{here}/missing-2"]
    names += [f"{here}/./missing-3", f"{here}/{'x' * 200}"]
    missing = recording.files("openat", error=ENOENT)
    assert missing == dict.fromkeys(names, 10_000)


def test_exec_by_a_thread_that_is_not_the_first(known: Path, tmp_path: Path, backend: str) -> None:
    recording = record(tmp_path, known, "thread-exec", backend=backend)
    true = shutil.which("true")
    assert true is not None
    assert recording.programs == [str(known), os.path.realpath(true)]
    assert recording.count("exit_group", program=1) == 1
    assert (recording.peaks["processes"], recording.peaks["threads"]) == (1, 2)
    # The first thread ends as the other one becomes true(1), which opens one file after another.
    assert recording.program_peaks(str(known))[:2] == (1, 2)
    assert recording.program_peaks(os.path.realpath(true))[:2] == (1, 1)


def test_sockets_that_go_in_other_ways_than_close(
    known: Path, tmp_path: Path, backend: str
) -> None:
    assert record(tmp_path, known, "sockets", backend=backend).peaks["sockets"] == TIMES


@pytest.fixture
def straced(known: Path, tmp_path: Path) -> Counter[int]:
    """The same workload's calls by number, as strace counts them."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log, files = tmp_path / "strace", tmp_path / "straced"
    files.mkdir()
    command = ["strace", "-f", "-n", "-o", str(log), str(known), "counts", str(files)]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    lines = log.read_text().splitlines()
    # not "<... read resumed>", "--- SIGCHLD" and "+++ exited"; nor calls that strace's stops repeat
    started = (re.match(r"\d+ +\[ *(\d+)\] \w+\(", line) for line in lines)
    stopped = (re.match(r"\d+ +\[ *(\d+)\] .* = \? ERESTART", line) for line in lines)
    calls = Counter(int(call[1]) for call in started if call)
    return calls - Counter(int(call[1]) for call in stopped if call)


def test_strace_counts_the_same(counts: Counts, straced: Counter[int]) -> None:
    recorded = {row["nr"]: row["count"] for row in counts.recording.data["calls"]}
    assert recorded == dict(straced)


def test_calls_belong_to_the_drill_that_runs(known: Path, tmp_path: Path, backend: str) -> None:
    with Probe(tmp_path, known, "bursts", first_drill="boot", backend=backend) as probe:
        pid = probe.expect("started")
        probe.wait_for_log("ready")
        for times, name in enumerate(["serve", "reload"], start=1):
            probe.ask(drill=name)
            assert probe.expect("drill") == name
            os.kill(pid, signal.SIGUSR1)
            probe.wait_for_log("burst", times)
        probe.ask(drill="boot")
        assert probe.expect("drill") == "boot"
        recording = probe.finish()
    assert recording.lost() == {}
    assert recording.data["drills"] == ["boot", "serve", "reload"]
    by_drill = {row["drill"]: row["count"] for row in recording.rows("calls", "getppid")}
    assert by_drill == {1: TIMES, 2: TIMES}


def test_a_daemon_in_its_own_session_is_watched_and_killed(
    known: Path, tmp_path: Path, backend: str
) -> None:
    with Probe(tmp_path, known, "daemon", backend=backend) as probe:
        probe.expect("started")
        assert probe.expect("exited") == {"status": 0}
        pid = int(probe.wait_for_log("daemon ").split()[1])
        assert is_running(pid)
        recording = probe.finish()
    assert not is_running(pid)
    assert recording.lost() == {}
    assert recording.count("getppid") == TIMES


def test_2000_short_lived_children_lose_nothing(known: Path, tmp_path: Path, backend: str) -> None:
    recording = record(tmp_path, known, "crowd", "2000", backend=backend)
    assert recording.count("getppid") == 2000
    assert recording.count("exit_group") == 2001
    true = shutil.which("true")
    assert true is not None
    executed = recording.programs.index(os.path.realpath(true))
    assert recording.count("execve", program=executed) == 200
    assert recording.count("exit_group", program=executed) == 200
    assert recording.peaks["processes"] <= 21


def test_relative_paths_from_deep_folders_and_a_jail(
    known: Path, tmp_path: Path, backend: str
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    recording = record(tmp_path, known, "places", files, backend=backend)
    deep = f"{files}/{'a-rather-long-name/' * 100}deep"
    assert recording.files("open", created=True) == {deep: 1, "/jailed": 1}
    assert recording.files("chroot") == {f"{files}/jail": 1}
    # an empty path and a bad pointer name no file
    assert recording.count("open") == 4


def test_a_script_is_two_executed_files(tmp_path: Path, backend: str) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 7\n")
    script.chmod(0o755)
    recording = record(tmp_path, script, status=7, backend=backend)
    assert recording.files("execve", role="exec") == {str(script): 1, "/bin/sh": 1}
    assert recording.programs == [os.path.realpath("/bin/sh")]


def test_a_missing_command_is_127_with_a_hint(tmp_path: Path, backend: str) -> None:
    with Probe(tmp_path, "no-such-command", backend=backend) as probe:
        answer = probe.read()
        assert answer["error"] == "cannot execute no-such-command: No such file or directory"
        assert "PATH" in answer["hint"]
        assert probe.process.wait(PATIENCE) == 127
    assert not probe.output.exists()


@pytest.mark.parametrize("arguments", [[], ["record"], ["record", "--output", "x"], ["what"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [str(native_path("onejob-probe")), *arguments], capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["hint"] == "see onejob-probe --help"


def test_an_output_that_cannot_be_written_is_refused_before_the_start(tmp_path: Path) -> None:
    command = ["record", "--output", str(tmp_path / "none" / "file"), "--", "true"]
    done = subprocess.run(
        [str(native_path("onejob-probe")), *command], capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert "No such file or directory" in json.loads(done.stdout)["error"]


@pytest.mark.ebpf
def test_without_rights_it_is_3(tmp_path: Path) -> None:
    command = ["record", "--output", str(tmp_path / "file"), "--", "true"]
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-all", str(native_path("onejob-probe")), *command],
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert answer["error"].startswith("cannot load the eBPF program: Operation not permitted")


def test_a_bad_request_is_told_and_the_recording_goes_on(tmp_path: Path, backend: str) -> None:
    with Probe(tmp_path, "sleep", "60", backend=backend) as probe:
        probe.expect("started")
        probe.ask(nonsense=1)
        assert "unknown variant" in probe.read()["error"]
        probe.finish()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_and_writes(tmp_path: Path, number: signal.Signals, backend: str) -> None:
    with Probe(
        tmp_path, "sh", "-c", "sleep 60 & setsid sleep 61 & echo $!; wait", backend=backend
    ) as probe:
        main = probe.expect("started")
        child = int(probe.wait_for_log("\n"))
        probe.process.send_signal(number)
        assert probe.expect("exited") == {"signal": signal.SIGKILL}
        probe.expect("recorded")
        assert probe.process.wait(PATIENCE) == 0
    assert not is_running(main)
    assert not is_running(child)
    assert Recording(probe.output).lost() == {}


def test_what_the_command_inherits_is_not_kept_by_the_probe(tmp_path: Path, backend: str) -> None:
    """Otherwise whoever holds the other end would not see that the command is gone."""
    ours, theirs = os.pipe()
    with Probe(
        tmp_path, "bash", "-c", f"echo word >&{theirs}", pass_fds=[theirs], backend=backend
    ) as probe:
        os.close(theirs)
        probe.expect("started")
        with open(ours, "rb") as pipe:
            assert pipe.read() == b"word\n"
        assert probe.expect("exited") == {"status": 0}
        probe.finish()


def test_end_of_input_ends_all_and_writes(tmp_path: Path, backend: str) -> None:
    with Probe(tmp_path, "sleep", "60", backend=backend) as probe:
        main = probe.expect("started")
    assert probe.process.returncode == 0
    assert not is_running(main)
    assert probe.output.exists()


def test_the_service_starts_with_clean_signals_and_no_input(tmp_path: Path, backend: str) -> None:
    show = "grep -E '^Sig(Blk|Ign)' /proc/self/status; readlink /proc/self/fd/0"
    with Probe(tmp_path, "sh", "-c", show, backend=backend) as probe:
        probe.expect("started")
        assert probe.expect("exited") == {"status": 0}
        probe.finish()
    blocked, ignored, stdin = probe.log.read_text().splitlines()
    assert int(blocked.split()[1], 16) == 0
    assert int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0
    assert stdin == "/dev/null"


@pytest.mark.ebpf
def test_check_says_that_ebpf_is_usable() -> None:
    done = subprocess.run(
        [str(native_path("onejob-probe")), "check"], capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["ebpf"] is True


def test_check_names_what_is_missing() -> None:
    command = ["setpriv", "--bounding-set", "-all", str(native_path("onejob-probe")), "check"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE)
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert report["ebpf"] is False
    assert report["missing"] == "not permitted to use eBPF"
    assert "CAP_BPF" in report["hint"]
