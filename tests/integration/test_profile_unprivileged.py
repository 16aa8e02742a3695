"""``onejob profile`` by somebody who is not root."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile
from unprivileged import USER, as_user

pytestmark = pytest.mark.root

TIMES = 23
# It sees who it is, counts in its own folder, and tries to write where it may not.
SCRIPT = """\
cd {folder}
i=0; while [ $i -lt 23 ]; do i=$((i+1)); echo $i >>counted; done
echo evil >/usr/evil
id -u >who; grep CapEff /proc/self/status >>who; cat who counted
echo up
trap 'exit 0' TERM
while :; do sleep 0.05; done
"""
WORKLOAD = """\
name = "mine"
command = ["sh", "{folder}/service.sh"]
directory = "{folder}"
ready = {{ log = "up", within = 20 }}
{more}
[[drill]]
name = "look"
run = {run}
"""


@pytest.fixture
def mine() -> Iterator[Path]:
    """A folder of the user, with a service of his; not below a folder of root's."""
    with tempfile.TemporaryDirectory(prefix="onejob-test-") as name:
        folder = Path(name)
        (folder / "service.sh").write_text(SCRIPT.format(folder=folder))
        for path in (folder, folder / "service.sh"):
            os.chown(path, USER, USER)
        yield folder


def profile_words(folder: Path, run: str = '["true"]', more: str = "") -> list[str | Path]:
    (folder / "workload.toml").write_text(WORKLOAD.format(folder=folder, run=run, more=more))
    (folder / "workload.toml").chmod(0o644)
    return [sys.executable, "-m", "onejob.cli.main", "profile", "-w", folder / "workload.toml"]


def profiled(
    folder: Path, *words: str | Path, namespaces: bool = True
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        as_user(*words, "-o", folder / "p.xml", namespaces=namespaces),
        env={**os.environ, "TMPDIR": str(folder), "ONEJOB_CACHE": str(folder / "cache")},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, cwd="/",
    )  # fmt: skip


def used(profile: Profile, path: Path | str, how: str) -> int:
    """How often `path` was used so."""
    uses = [use for file in profile.files if file.path == str(path) for use in file.uses]
    return sum(use.count for use in uses if use.how == how)


def of_user() -> Iterator[int]:
    """The processes that run as USER."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"Uid:\t{USER}" in (folder / "status").read_text():
                yield int(folder.name)


def await_true(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.05)


def test_a_service_of_ones_own(mine: Path) -> None:
    done = profiled(mine, *profile_words(mine))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "eBPF cannot be used" in done.stderr
    assert "not root: the service runs as you are" in done.stderr + done.stdout
    profile = load_profile(mine / "p.xml")
    assert {identity.uid for identity in profile.identities} == {USER}
    assert used(profile, mine / "counted", "appended") == TIMES
    shell = next(file for file in profile.files if file.path == os.path.realpath("/bin/sh"))
    assert (shell.uid, shell.gid) == (0, 0)  # described outside of the user namespace
    script = next(file for file in profile.files if file.path == f"{mine}/service.sh")
    assert script.uid == USER
    assert profile.memory_allocations
    assert profile.events_lost == 0


def test_it_writes_into_a_throw_away_view_only(mine: Path) -> None:
    (mine / "counted").write_text("before\n")
    os.chown(mine / "counted", USER, USER)
    done = profiled(mine, *profile_words(mine))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (mine / "counted").read_text() == "before\n"
    assert not (mine / "who").exists()
    assert not Path("/usr/evil").exists()


NOTHING = "Cap...:.0000000000000000"


def test_neither_service_nor_drills_have_capabilities(mine: Path) -> None:
    script = mine / "service.sh"
    check = f'[ $(grep -c "{NOTHING}" who) = 4 ] && echo up'
    script.write_text(
        script.read_text().replace("grep CapEff", "grep Cap").replace("echo up", check)
    )
    run = '{ command = ["grep", "-c", "' + NOTHING + '", "/proc/self/status"], prints = "4" }'
    done = profiled(mine, *profile_words(mine, run=run))
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_user_needs_root(mine: Path) -> None:
    done = profiled(mine, *profile_words(mine, more='user = "daemon"'))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "running mine as daemon needs root" in done.stderr


def test_where_no_user_namespace_can_be_made(mine: Path) -> None:
    done = profiled(mine, *profile_words(mine), namespaces=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "no user namespace can be made" in done.stderr
    assert "max_user_namespaces" in done.stderr


def test_a_service_that_fails_is_said(mine: Path) -> None:
    (mine / "service.sh").write_text("echo famous last words; exit 7\n")
    done = profiled(mine, *profile_words(mine))
    assert done.returncode == 5, done.stdout + done.stderr
    assert "ended with status 7 before it was ready" in done.stderr
    assert "famous last words" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_from_outside_leaves_nothing(number: signal.Signals, mine: Path) -> None:
    words = as_user(*profile_words(mine, run='["sleep", "60"]'), "-o", mine / "p.xml")
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(mine), "ONEJOB_CACHE": str(mine / "cache")},
    ) as process:  # fmt: skip
        await_true(lambda: any(cmdline(pid).endswith(b"/sleep\x0060\0") for pid in of_user()))
        process.send_signal(number)
        process.wait(60)
    await_true(lambda: not any(of_user()))
    await_true(lambda: not list(mine.glob("onejob-*")))
    assert not (mine / "p.xml").exists()


def cmdline(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
