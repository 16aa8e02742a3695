"""The whole upgrade: an installed nginx serves with a newer library of the host, and goes back."""

import json
from pathlib import Path

import pytest

from onejob.disk.state import Slot, State
from private_host import PrivateHost, private_host
from running import Onejob, must

from .exported import patiently_fetch
from .test_export_disk import booted, commands
from .test_slots import await_state, words_of

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.kernel, pytest.mark.qemu,
              pytest.mark.runc]  # fmt: skip
BUILD_LIMIT_S = 1700
LIBRARY = "/usr/lib/x86_64-linux-gnu/libz.so.1"


def update_library(host: PrivateHost) -> str:
    """zlib in a newer version, which is told apart by its last bytes alone; where its file is."""
    old = host.must("readlink", "-f", LIBRARY).strip()
    new = f"{old}.1"
    host.must("cp", "-p", old, new)
    host.must("tee", "-a", new, text="a newer version")
    host.must("ln", "-sfn", new, LIBRARY)
    host.package("zlib1g", "2:9.9", LIBRARY, new)
    return new


def slots(host: PrivateHost, disk: Path) -> dict[str, dict[str, object]]:
    done = host.onejob("upgrade", disk, "--status", "--json")
    assert done.returncode == 0, done.stderr
    return {row["slot"]: row for row in json.loads(done.stdout)["slots"]}


def test_an_installed_nginx_serves_with_a_newer_library(
    nginx_profile: Path, onejob: Onejob, tmp_path: Path
) -> None:
    image, folder = tmp_path / "nginx.onejob", tmp_path / "exported"
    words = ("build", nginx_profile, "--hardware", "qemu-q35-uefi", "-o", image)
    must(onejob(*words, timeout=BUILD_LIMIT_S))
    must(onejob("export", image, "--to", "disk", "-o", folder))
    disk = folder / "nginx.raw"
    with private_host(tmp_path / "scratch") as host:
        new = update_library(host)
        done = host.onejob("upgrade", disk, timeout=BUILD_LIMIT_S)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"newer than the profile: {new}" in " ".join(done.stderr.split())
        found = slots(host, disk)
        assert found["b"]["words"] == "on trial, 3 starts left"
        assert new in str(found["b"]["renewed"])
        assert found["a"]["renewed"] == []
        served_by(folder, disk, "b")
        done = host.onejob("upgrade", disk, "--back")
        assert done.returncode == 0, done.stderr
        served_by(folder, disk, "a")
        assert {slot: row["words"] for slot, row in slots(host, disk).items()} == {
            "a": "boots",
            "b": "spare",
        }


def served_by(folder: Path, disk: Path, slot: Slot) -> None:
    """The disk boots its slot on trial, which serves and then is the first."""
    console = folder / "console"
    with booted(folder, commands(folder)[0]) as port:
        assert patiently_fetch(port, console) == 200
        assert await_state(disk, console, lambda state: not state.trying) == State(slot)
    said = words_of(console)
    assert f"slot {slot} is on trial, 2 more" in said
    assert f"onejob: slot {slot}\n" in said
