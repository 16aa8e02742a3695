"""The sandbox really isolates, and ProfiledService acts where the service is."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onejob.base.process import end_group
from onejob.base.progress import Quiet
from onejob.drive.target import Exit
from onejob.model.errors import ServiceError
from onejob.model.workload import Folder, Workload
from onejob.profiler.namespace import kill_namespace
from onejob.profiler.observe import watch_calls
from onejob.profiler.place import ProfiledService
from onejob.profiler.sandbox import MountPoint, read_mounts, sandbox_command
from onejob.profiler.sandbox_folder import place_in_memory, recordings_folder, run_folder

pytestmark = pytest.mark.root


def mount_lines() -> list[str]:
    return sorted(Path("/proc/self/mountinfo").read_text().splitlines())


def run_inside(script: str, *, private: bool = True, directory: str = "/", **settings: str) -> str:
    """What a shell script prints in a sandbox."""
    with run_folder() as folder:
        shown = inside(folder, script, private=private, directory=directory, **settings)
    assert not folder.exists()
    return shown


def inside(
    folder: Path, script: str, *, private: bool = True, directory: str = "/", **settings: str
) -> str:
    words = sandbox_command(folder, private, directory)
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    done = subprocess.run(
        [*words, "--", "/bin/sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=30, env={"PATH": os.environ["PATH"], "GIVEN": "a=b"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_written_inside_is_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("before")
    (tmp_path / "gone").write_text("before")
    before = mount_lines()
    marks = [f"/{top}/onejob-test-mark" for top in ("etc", "usr/bin", "run", "dev/shm", "tmp")]
    script = f"cd {tmp_path}; echo new > kept; rm gone; mkdir sub; cat kept; "
    script += "; ".join(f"touch {mark} && ls {mark}" for mark in marks)
    assert run_inside(script).split() == ["new", *marks]
    assert (tmp_path / "kept").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "kept"]
    assert not [mark for mark in marks if os.path.exists(mark)]
    assert mount_lines() == before


ON_DISK, RUN, SHARED = MountPoint("/", "ext4"), MountPoint("/run", "tmpfs"), "/dev/shm"


@pytest.mark.parametrize(
    ("mounts", "place"),
    [
        ([ON_DISK, RUN, MountPoint(SHARED, "tmpfs")], "/run"),
        ([ON_DISK, MountPoint(SHARED, "tmpfs")], SHARED),
        ([RUN, MountPoint("/run", "ext4"), MountPoint(SHARED, "tmpfs")], SHARED),
        ([ON_DISK, MountPoint(SHARED, "ext4")], "/run"),
        ([ON_DISK, MountPoint("/run/lock", "tmpfs")], "/run"),
    ],
)
def test_recordings_are_in_memory_where_they_can_be(mounts: list[MountPoint], place: str) -> None:
    assert place_in_memory(mounts) == place


def test_the_folder_of_recordings_is_in_memory_and_shared_with_the_sandbox() -> None:
    mounted = read_mounts(Path("/proc/self/mountinfo").read_text())
    with recordings_folder() as folder:
        if any(mount.kind == "tmpfs" for mount in mounted if mount.path in ("/run", SHARED)):
            shown = subprocess.run(["stat", "-fc", "%T", folder], capture_output=True, timeout=10)
            assert shown.stdout == b"tmpfs\n"
        assert not inside(folder, f"echo said > {folder}/keep/file; echo lost > {folder}/other")
        assert sorted(path.name for path in folder.iterdir()) == ["keep", "old", "scratch"]
        assert (folder / "keep/file").read_text() == "said\n"
    assert not folder.exists()


def test_only_loopback_and_it_is_up() -> None:
    assert run_inside("grep : /proc/net/dev | cut -d: -f1").split() == ["lo"]
    script = f"exec {sys.executable} -c '{LOOPBACK}'"
    assert run_inside(script) == "!\n"


def test_folders_are_made_and_the_user_is_another() -> None:
    """A database that refuses to be root, and finds the folder that its init script makes."""
    folders = [
        Folder(path="/run/onejob-test/sub", user="nobody", group="nogroup", mode=0o2750),
        Folder(path="/var/tmp", mode=0o700),
    ]
    script = "id -u; id -g; id -G; stat -c '%U %G %a' /run/onejob-test/sub /var/tmp"
    script += "; grep -E 'CapEff|NoNewPrivs' /proc/self/status | cut -f2; touch /etc/x 2>&1"
    with run_folder() as folder:
        words = [*sandbox_command(folder, True, "/", folders), "--user", "65534:65534:7,8"]
        done = subprocess.run(
            [*words, "--", "/bin/sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=30, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )  # fmt: skip
    assert not done.stderr
    assert done.stdout.splitlines() == [
        "65534", "65534", "65534 7 8", "nobody nogroup 2750", "root root 700",
        "0000000000000000", "0", "touch: cannot touch '/etc/x': Permission denied",
    ]  # fmt: skip
    assert not os.path.exists("/run/onejob-test")


LOOPBACK = (
    "import socket; server = socket.create_server((str(), 80)); "
    "socket.create_connection(server.getsockname()); print(chr(33))"
)


def test_the_hosts_network_where_that_is_wanted() -> None:
    own = os.readlink("/proc/self/ns/net")
    assert run_inside("readlink /proc/self/ns/net", private=False).strip() == own
    assert run_inside("readlink /proc/self/ns/net").strip() != own


def test_the_service_finds_its_own_environment_and_nothing_of_python() -> None:
    text = run_inside("tr '\\0' '\\n' < /proc/$$/environ; pwd", directory="/usr", ADDED="x=y")
    assert sorted(text.split()) == sorted(
        ["ADDED=x=y", "GIVEN=a=b", f"PATH={os.environ['PATH']}", "/usr"]
    )


def test_no_signal_is_ignored_and_no_descriptor_is_open() -> None:
    text = run_inside("grep SigIgn /proc/$$/status; ls /proc/$$/fd")
    assert text.split() == ["SigIgn:", "0000000000000000", "0", "1", "2"]


def test_a_folder_of_ours_in_the_way_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert run_inside("echo ok", PYTHONHOME="/nowhere") == "ok\n"


# --- a service in the sandbox ---------------------------------------------------------------------


SERVICE = """
echo hello
mkdir /srv/place && cd /srv/place
printf '%s' "{text}" > log
ln -s /srv/place/log link
sleep 100 & echo ready
wait
"""


@contextmanager
def started(script: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [*sandbox_command(folder, True, "/"), "--", "/bin/sh", "-c", script]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        end_group(process)


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def service() -> Iterator[ProfiledService]:
    with run_folder() as folder, started(SERVICE.format(text="needle"), folder) as process:

        def exited() -> Exit | None:
            status = process.poll()
            return None if status is None else Exit(None, -status)

        made = ProfiledService(process.pid, None, exited, lambda _: None, folder / "output")
        wait_for(lambda: "ready" in made.output())
        yield made


def test_files_are_those_of_the_service(service: ProfiledService) -> None:
    assert service.exists("/srv/place/log")
    assert service.contains("/srv/place/log", "needle")
    assert service.contains("/srv/place/link", "needle")  # an absolute link stays inside
    assert not service.contains("/srv/place/log", "hay")
    assert not service.contains("/srv/place/none", "x")
    assert not service.contains("/srv/place", "x")
    service.rename("/srv/place/log", "/srv/place/log.1")
    assert not service.exists("/srv/place/log")
    service.remove("/srv/place/log.1")
    assert not service.exists("/srv/place/log.1")
    assert not os.path.exists("/srv/place")


def test_errors_name_the_path(service: ProfiledService) -> None:
    with pytest.raises(ServiceError, match="remove /srv/place/none: No such file"):
        service.remove("/srv/place/none")
    with pytest.raises(ServiceError, match="rename /srv/place/none to /srv/x: No such file"):
        service.rename("/srv/place/none", "/srv/x")
    with pytest.raises(ServiceError, match="/nowhere: No such file"):
        service.remove("/nowhere/x")


def test_processes_main_first_then_children(service: ProfiledService) -> None:
    main, child = service.processes()
    assert child.parent == main.pid
    assert main.start <= child.start
    sleeps = ("sleep", "coreutils", "busybox")  # once it has got to its exec
    wait_for(lambda: os.path.basename(service.processes()[1].program) in sleeps)
    service.begin_drill("serve")
    assert service.looks.resident_kib > 100


def test_after_its_end(service: ProfiledService) -> None:
    assert service.exited() is None
    service.send_signal(9)
    wait_for(lambda: service.exited() is not None)
    assert service.exited() == Exit(None, 9)
    assert service.processes() == ()
    assert not service.exists("/srv/place/log")
    with pytest.raises(ServiceError, match="is gone"):
        service.send_signal(15)


def test_a_needle_across_chunks_is_found(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * ((1 << 20) - 3) + b"needle" + b"y" * 100)
    place = ProfiledService(os.getpid(), None, lambda: None, lambda _: None, path)
    assert place.contains(str(path), "needle")
    assert not place.contains(str(path), "needles")


def test_nothing_of_a_namespace_survives_not_even_what_left_its_parent() -> None:
    """Left over when the main process had ended before: its namespace was asked for too late."""
    with run_folder() as folder:
        script = "setsid sleep 100 & setsid sh -c 'setsid sleep 100 & sleep 100' & sleep 0.3"
        with started(f"{script}; exit 0", folder) as process:
            own = os.readlink("/proc/self/ns/mnt")
            wait_for(lambda: os.readlink(f"/proc/{process.pid}/ns/mnt") != own)
            namespace = os.readlink(f"/proc/{process.pid}/ns/mnt")
            process.wait()
        assert in_namespace(namespace)
        kill_namespace(namespace)
        assert not in_namespace(namespace)


def in_namespace(namespace: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/mnt"):
        try:
            if os.readlink(path) == namespace:
                found.append(str(path))
        except OSError:
            continue
    return found


def test_our_own_namespace_is_never_killed() -> None:
    kill_namespace(os.readlink("/proc/self/ns/mnt"))
    kill_namespace("")


@pytest.mark.ebpf
def test_what_the_sandbox_complains_of_is_said(tmp_path: Path) -> None:
    """It stood in a file that was removed; the user read only that the probe had ended."""
    (tmp_path / "keep").mkdir()
    job = {"name": "x", "command": ("true",), "ready": {"log": "x"}, "directory": "/no/where"}
    with pytest.raises(ServiceError, match=r"sandbox: .*No such file.*'/no/where'"):
        watch_calls(Workload.model_validate(job), ["/bin/true"], tmp_path, Quiet())
