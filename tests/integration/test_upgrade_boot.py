"""The whole upgrade: a library of the host is updated, and an installed nginx serves with it."""

import json
from pathlib import Path

import pytest

from onejob.disk.device import open_device
from onejob.disk.state import State, read_state
from private_host import PrivateHost, private_host
from running import Onejob, must

from .exported import patiently_fetch
from .test_export_disk import booted, commands

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
        with booted(folder, commands(folder)[0]) as port:
            assert patiently_fetch(port, folder / "console") == 200
    with open_device(disk) as device:
        # One start was counted; or the system was ready for long enough to say so.
        assert read_state(device) in (State("a", "b", 2), State("b"))
