"""The tracer: anybody may run it, and the service must not notice more than that it is slow."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from probe_driver import PATIENCE, Probe, Recording, compile_known, is_running, record, wait_until

from onejob.base.natives import native_path
from onejob.profiler.imports.importing import import_profile

pytestmark = pytest.mark.root

NOBODY, TIMES = 65534, 23
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
AS_NOBODY += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
SHOW = "taskset -p $$; grep -E '^(Seccomp|NoNewPrivs)' /proc/self/status"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_known(tmp_path_factory.mktemp("workload"))


@pytest.fixture
def open_folder(tmp_path: Path, known: Path) -> Path:
    """A folder that nobody reaches and writes to, with the probe and the workload in it."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    shutil.copy(known, tmp_path / "known")
    shutil.copy(native_path("onejob-probe"), tmp_path / "probe")
    (tmp_path / "files").mkdir()
    (tmp_path / "files").chmod(0o777)
    return tmp_path


def record_as_nobody(folder: Path, *command: str) -> Path:
    output = folder / "files/recording.json"
    words = [folder / "probe", "record", "--backend", "ptrace", "--output", output, "--", *command]
    with subprocess.Popen(
        [*AS_NOBODY, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder / "files"
    ) as process:
        assert process.stdout is not None
        try:
            assert b'"started"' in process.stdout.readline()
            assert process.stdout.readline() == b'{"exited":{"status":0}}\n'
            process.communicate(b'{"finish": true}\n', PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 0
    return output


def test_nobody_without_capabilities_sees_the_same(open_folder: Path) -> None:
    folder = open_folder / "files/work"
    folder.mkdir()
    folder.chmod(0o777)
    output = record_as_nobody(open_folder, str(open_folder / "known"), "counts", str(folder))
    recording = Recording(output)
    assert recording.lost() == {}
    for name in ("getppid", "connect", "fork", "renameat2", "rmdir", "socketpair"):
        assert recording.count(name) == TIMES
    assert recording.errors("read") == {9: TIMES}
    assert recording.peaks["processes"] == TIMES + 1
    (identity,) = recording.data["identities"]
    assert (identity["uid"], identity["gid"], identity["no_new_privs"]) == (NOBODY, NOBODY, True)
    missing = recording.files("openat", error=2, role="path")
    assert missing == {f"{folder}/sub/missing": TIMES}


def test_a_recording_of_nobodys_becomes_a_profile_that_says_what_it_lacks(
    open_folder: Path,
) -> None:
    profile = import_profile([record_as_nobody(open_folder, str(open_folder / "known"), "threads")])
    assert profile.number_of_threads == TIMES + 1
    assert profile.provenance is not None
    assert profile.provenance.backend == "ptrace"
    assert "watched by ptrace, which does not show for which capabilities" in (
        profile.provenance.partial
    )


def test_the_service_does_not_see_that_it_is_kept_to_one_processor(tmp_path: Path) -> None:
    with Probe(tmp_path, "sh", "-c", SHOW, backend="ptrace") as probe:
        probe.expect("started")
        assert probe.expect("exited") == {"status": 0}
        probe.finish()
    mask = sum(1 << processor for processor in os.sched_getaffinity(0))
    affinity, *flags = probe.log.read_text().splitlines()
    assert affinity.endswith(f": {mask:x}")
    assert [flag.split()[1] for flag in flags] == ["0", "0", "0"]


def test_signals_and_stops_are_as_without_a_tracer(tmp_path: Path) -> None:
    script = "trap 'echo got' USR1; echo ready; while :; do sleep 0.05; done"
    with Probe(tmp_path, "bash", "-c", script, backend="ptrace") as probe:
        pid = probe.expect("started")
        probe.wait_for_log("ready")
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: state_of(pid) in "tT", "it does not stop")
        os.kill(pid, signal.SIGUSR1)
        os.kill(pid, signal.SIGCONT)
        probe.wait_for_log("got")
        os.kill(pid, signal.SIGUSR1)
        probe.wait_for_log("got", 2)
        os.kill(pid, signal.SIGTERM)
        assert probe.expect("exited") == {"signal": signal.SIGTERM}
        recording = probe.finish()
    assert recording.lost() == {}
    assert recording.count("rt_sigreturn") >= 2


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_tracer_that_is_killed_lets_the_service_go_and_says_so(
    known: Path, tmp_path: Path
) -> None:
    with Probe(tmp_path, known, "bursts", backend="ptrace") as probe:
        pid = probe.expect("started")
        try:
            probe.wait_for_log("ready")
            status = Path(f"/proc/{pid}/status").read_text()
            tracer = int(status.partition("TracerPid:")[2].split()[0])
            os.kill(tracer, signal.SIGKILL)
            assert "tracer was ended by SIGKILL" in probe.read()["error"]
            assert probe.process.wait(PATIENCE) == 1
            os.kill(pid, signal.SIGUSR1)
            probe.wait_for_log("burst")
            assert is_running(pid)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_running(pid), "the service does not end")


def test_a_service_that_filters_its_own_calls_is_watched(tmp_path: Path) -> None:
    """seccomp(2) decides after the tracer; what it refuses is a failure like any other."""
    source = tmp_path / "filters.c"
    source.write_text(
        "#include <linux/filter.h>\n#include <linux/seccomp.h>\n#include <stddef.h>\n"
        "#include <sys/prctl.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
        "int main(void) {\n"
        "  struct sock_filter code[] = {\n"
        "    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),\n"
        "    BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_getppid, 0, 1),\n"
        "    BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | 1), BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW) };\n"
        "  struct sock_fprog filter = { 4, code };\n"
        "  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);\n"
        "  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);\n"
        f"  for (int i = 0; i < {TIMES}; i++) syscall(SYS_getppid);\n  return 0;\n}}\n"
    )
    program = tmp_path / "filters"
    subprocess.run(["gcc", "-O1", "-o", program, source], check=True, timeout=60)
    recording = record(tmp_path, program, backend="ptrace")
    assert recording.count("getppid") == TIMES
    assert recording.errors("getppid") == {1: TIMES}


def test_a_backend_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    words = [native_path("onejob-probe"), "record", "--output", tmp_path / "r", "--backend", "no"]
    done = subprocess.run([*words, "--", "true"], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "there are ebpf and ptrace" in done.stdout
