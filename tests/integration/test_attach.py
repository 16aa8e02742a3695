"""Profiles of what runs already: exact, as the service sees its files, and it goes on unharmed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from onejob.drive.attached import Attached
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile, write_profile
from running import ROOT, Onejob
from running_service import LATER, TIMES, WAITING, Running, compile_service, running

pytestmark = [pytest.mark.root, pytest.mark.ebpf]

CALLS = (WAITING + LATER) * TIMES
PATIENCE_S = 60
CONTAINER = "onejob-test-attached-0123456789ab"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_service(tmp_path_factory.mktemp("workload"))


@contextmanager
def profiling(folder: Path, *words: str | Path) -> Iterator[Path]:
    """`onejob profile` while it watches; at the end it is told to finish, as by Ctrl-C."""
    output = folder / "live.profile.xml"
    process = subprocess.Popen(
        [sys.executable, "-m", "onejob.cli.main", "profile", *map(str, words), "-o", output],
        cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert b"watching process" in process.stderr.readline()
        wait_for_watch(process.pid)
        yield output
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert b"its start was not seen" in out
    finally:
        process.kill()
        process.wait()


def wait_for_watch(pid: int) -> None:
    """The probe forks its keeper when all is watched."""
    deadline = time.monotonic() + PATIENCE_S
    while not any("onejob-keeper" in name for name in below(pid)):
        assert time.monotonic() < deadline, "the probe does not begin"
        time.sleep(0.02)


def below(pid: int) -> list[str]:
    """The names of the descendants of a process."""
    names = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            names += [Path(f"/proc/{child}/comm").read_text().strip(), *below(int(child))]
    return names


def count(profile: Profile, name: str) -> int:
    return sum(use.count for use in profile.calls if use.call_name == name)


def test_a_process_is_profiled_and_left_alone(program: Path, tmp_path: Path) -> None:
    with running(program, tmp_path) as service:
        with profiling(tmp_path, "--pid", str(service.pid)) as output:
            service.work()
        assert service.all_running()
    profile = load_profile(output)
    assert (profile.name, profile.program) == ("attached", str(program))
    assert count(profile, "getppid") == CALLS
    assert (profile.number_of_processes, profile.number_of_threads) == (4, WAITING + LATER)
    assert {(use.phase, use.drill) for use in profile.calls} == {("serve", "serve")}
    assert profile.provenance is not None
    assert profile.provenance.partial == "attached to what ran already: its start was not seen"
    [row] = profile.unrecorded_memory
    assert (row.program, "ran already" in row.reason) == (str(program), True)
    log = profile.file(str(service.log))
    assert log is not None
    assert [use.how for use in log.uses] == ["appended"]
    used = profile.file(str(program))
    assert used is not None
    assert {use.how for use in used.uses} == {"executed", "mapped"}
    assert used.sha256 == hashlib.sha256(program.read_bytes()).hexdigest()


def test_the_profile_merges_with_a_drilled_one_of_the_same_binary(
    program: Path, tmp_path: Path, onejob: Onejob
) -> None:
    with (
        running(program, tmp_path) as service,
        profiling(tmp_path, "--pid", str(service.pid)) as live,
    ):
        service.work()
    refused = onejob("plan", live, "-o", tmp_path / "plan.json")
    assert refused.returncode == 4
    assert "onejob merge" in refused.stderr
    workload = f'name = "attached"\ncommand = ["{program}", "{tmp_path}/service.log"]\n'
    taken = load_profile(live)
    drilled = tmp_path / "drilled.profile.xml"
    drilled.write_text(write_profile(taken.model_copy(update={"workload": workload})))
    merged = tmp_path / "all.profile.xml"
    assert onejob("merge", drilled, live, "-o", merged).returncode == 0
    both = load_profile(merged)
    assert both.workload == workload
    assert count(both, "getppid") == 2 * CALLS
    assert both.number_of_threads == WAITING + LATER


@contextmanager
def cgroup(path: str) -> Iterator[Path]:
    """A cgroup, with the folders above it that are made for it."""
    roots = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup")
    root = next(Path(root) for root in roots if (Path(root) / "cgroup.procs").exists())
    folder = root / path
    made = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        for each in made:
            wait_until_empty(each)
            each.rmdir()


def wait_until_empty(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (folder / "cgroup.procs").read_text():
        assert time.monotonic() < deadline, f"{folder} stays in use"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("system.slice/onejob-test.service", ("--unit", "onejob-test")),
        ("onejob-test-group", ("--cgroup", "/onejob-test-group")),
        (f"machine.slice/libpod-{'ab12' * 16}.scope", ("--container", "ab12ab12ab12")),
        (f"docker/{'cd34' * 16}", ("--container", "cd34" * 16)),
    ],
)
def test_units_cgroups_and_containers_are_found_by_their_cgroup(
    program: Path, tmp_path: Path, where: str, words: tuple[str, str]
) -> None:
    if words[0] == "--unit" and Path("/run/systemd/system").exists():
        pytest.skip("systemd runs, and does not know of this unit")
    with cgroup(where) as folder:

        def join() -> None:
            (folder / "cgroup.procs").write_text("0")

        with running(program, tmp_path, join) as service:
            with profiling(tmp_path, *words) as output:
                service.work()
            assert service.all_running()
    profile = load_profile(output)
    assert count(profile, "getppid") == CALLS
    assert profile.program == str(program)


def test_two_containers_with_the_same_beginning_are_told_apart(
    program: Path, tmp_path: Path, onejob: Onejob
) -> None:
    with ExitStack() as stack:
        for end in ("00", "11"):
            folder = stack.enter_context(cgroup(f"docker-{'ef' * 31}{end}.scope"))
            assert not (folder / "cgroup.procs").read_text()
        done = onejob("profile", "--container", "ef" * 6)
    assert done.returncode == 4
    assert "is the beginning of 2 containers" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pid", "1"), "process 1"),
        (("--pid", "2"), "kernel"),
        (("--pid", str(os.getpid())), "itself"),
        (("--pid", "4194305"), "there is no process"),
        (("--unit", "onejob-no-such"), "does not"),
        (("--cgroup", "/onejob-no-such"), "there is no cgroup"),
        (("--container", "onejob-no-such"), "does not run"),
        (("--container", "../x"), "not the id"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    words: tuple[str, ...], says: str, tmp_path: Path, onejob: Onejob
) -> None:
    done = onejob("profile", *words, "-o", tmp_path / "none.xml")
    assert done.returncode == 4, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "none.xml").exists()


@pytest.mark.parametrize("words", [("--pid", "1", "--unit", "x"), ("--pid", "1", "--for", "soon")])
def test_wrong_usage_is_said(words: tuple[str, ...], onejob: Onejob) -> None:
    assert onejob("profile", *words).returncode == 2


# --- a container ---------------------------------------------------------------------------------


def make_bundle(folder: Path, program: Path) -> Path:
    """A root with the program, its libraries and accounts of its own; one library is not ours."""
    root = folder / "rootfs"
    for name in ("etc", "proc", "dev", "lib64", "lib/x86_64-linux-gnu", "srv"):
        (root / name).mkdir(parents=True)
    shutil.copy(program, root / "srv/attached")
    shutil.copy("/lib64/ld-linux-x86-64.so.2", root / "lib64/ld-linux-x86-64.so.2")
    libc = root / "lib/x86_64-linux-gnu/libc.so.6"
    shutil.copy("/lib/x86_64-linux-gnu/libc.so.6", libc)
    with libc.open("ab") as file:
        file.write(b"another libc")
    (root / "etc/passwd").write_text("boss:x:0:0:::/bin/none\nbroken\n")
    (root / "etc/group").write_text("bosses:x:0:\n")
    (root / "etc/nsswitch.conf").write_text("passwd: onejobtest\n")
    namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    config = {
        "ociVersion": "1.0.2",
        "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "cwd": "/",
                    "args": ["/srv/attached", "/srv/log"], "env": []},
        "root": {"path": "rootfs", "readonly": False},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": namespaces},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return libc


@contextmanager
def container(folder: Path) -> Iterator[Running]:
    process = subprocess.Popen(
        ["runc", "run", "--bundle", folder, CONTAINER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield Running(process, folder / "rootfs/srv/log")
    finally:
        subprocess.run(["runc", "delete", "--force", CONTAINER], capture_output=True, timeout=60)
        process.kill()
        process.communicate()


@pytest.mark.runc
def test_a_container_is_described_as_it_is_inside(program: Path, tmp_path: Path) -> None:
    libc = make_bundle(tmp_path, program)
    with container(tmp_path) as service:
        with profiling(tmp_path, "--container", CONTAINER) as output:
            service.work()
        state = subprocess.run(
            ["runc", "state", CONTAINER], capture_output=True, text=True, check=True, timeout=60
        )
        assert json.loads(state.stdout)["status"] == "running"
    profile = load_profile(output)
    assert (profile.program, profile.name) == ("/srv/attached", CONTAINER)
    assert count(profile, "getppid") == CALLS
    described = profile.file("/lib/x86_64-linux-gnu/libc.so.6")
    assert described is not None
    assert described.sha256 == hashlib.sha256(libc.read_bytes()).hexdigest()
    assert "/lib/x86_64-linux-gnu/libc.so.6" in (profile.file("/srv/attached") or described).needed
    assert [(row.name, row.uid) for row in profile.accounts] == [("boss", 0)]
    assert [(row.name, row.gid) for row in profile.groups] == [("bosses", 0)]
    assert profile.packages == ()
    assert {file.path for file in profile.files if file.package} == set()
    assert not (tmp_path / "rootfs/var").exists()  # where the cache would be


# --- the agent's recordings ----------------------------------------------------------------------


def record_elsewhere(service: Running, folder: Path) -> Path:
    """A recording as the agent makes it."""
    output = folder / "seen.json"
    probe = Attached([service.pid], None, output, describe=True)
    with probe:
        service.work()
        return probe.finish()


def test_an_agents_recording_becomes_a_profile(
    program: Path, tmp_path: Path, onejob: Onejob
) -> None:
    with running(program, tmp_path) as service:
        seen = record_elsewhere(service, tmp_path)
    output = tmp_path / "from.xml"
    done = onejob("profile", "--from", seen, "-o", output)
    assert done.returncode == 0, done.stderr
    profile = load_profile(output)
    assert count(profile, "getppid") == CALLS
    assert profile.provenance is not None
    assert profile.provenance.partial == "attached to what ran already: its start was not seen"
    assert profile.provenance.libc.startswith("glibc ")
    assert [source.split()[0] for source in profile.provenance.sources] == ["seen.json"]


def test_files_that_are_not_here_as_they_were_there_are_told(
    program: Path, tmp_path: Path, onejob: Onejob
) -> None:
    """The service had them: they are not among the missing."""
    own, gone = tmp_path / "changed", tmp_path / "gone"
    for name in (own, gone):
        name.mkdir()
        shutil.copy(program, name / "service")
    there = hashlib.sha256(program.read_bytes()).hexdigest()
    for folder, say in ((own, "contents are not"), (gone, "contents are not")):
        with running(folder / "service", tmp_path) as service:
            seen = record_elsewhere(service, tmp_path)
        (folder / "service").unlink()  # it may be busy for a moment after its end
        if folder is own:
            (folder / "service").write_bytes(program.read_bytes() + b"a new version")
        service.log.unlink()
        output = tmp_path / "from.xml"
        done = onejob("profile", "--from", seen, "-o", output)
        assert done.returncode == 0, done.stderr
        profile = load_profile(output)
        assert profile.provenance is not None
        assert say in profile.provenance.partial
        assert f"not on this machine: {service.log}" in profile.provenance.partial
        described = profile.file(str(folder / "service"))
        assert described is not None
        assert (described.kind, described.existed, described.sha256) == ("file", True, there)
