"""What process 1 refuses: one clear sentence that names the object and says what to do."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from init_container import SECONDS, Container

from onejob.base.natives import native_path

pytestmark = [pytest.mark.root, pytest.mark.runc]


# ---- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["command", "capabilities", "denied"])
def test_missing_field_is_refused(container: Container, missing: str) -> None:
    del container.plan[missing]
    container.start()
    assert container.status() == 1
    assert f"onejob: /.onejob/instance.json: missing field `{missing}`" in container.console
    assert "Hint: build the image again" in container.console


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "unknown field `colour`"),
        ({"format": 2}, "`format` is not 1"),
        ({"command": []}, "`command` is empty"),
        ({"command": ["job"]}, "`command` does not start with an absolute path"),
        ({"mounts": [{"path": "/a/../b", "kind": "data"}]}, "a mount `path` is not an absolute"),
        ({"mounts": [{"path": "/run", "kind": "tmpfs"}]}, "`size_kib` belongs to each tmpfs"),
        ({"mounts": [{"path": "/run", "kind": "nfs"}]}, "unknown variant `nfs`"),
        ({"limits": [{"resource": "luck", "soft": 1, "hard": 1}]}, "unknown variant `luck`"),
        ({"sysctls": [{"name": "../x", "value": "1"}]}, "a sysctl `name`"),
        ({"stop_signal": 0}, "`stop_signal` is not 1 to 64"),
        ({"capabilities": [64]}, "a capability is above 63"),
        ({"counts": ["run", 1, 1]}, "the folder of `counts`"),
        ({"counts": ["/run", 1025, 1]}, "more files of `counts`"),
        ({"user": -1}, "invalid value: integer `-1`"),
    ],
)
def test_bad_plan_is_refused(container: Container, change: dict[str, Any], words: str) -> None:
    container.plan |= change
    container.start()
    assert container.status() == 1
    assert f"onejob: /.onejob/instance.json: {words}" in container.console


@pytest.mark.parametrize("size", [0, 7, 12, 4097 * 8])
def test_bad_policy_is_refused(container: Container, size: int) -> None:
    container.policy = b"\0" * size
    container.start()
    assert container.status() == 1
    assert "onejob: /.onejob/filters.bpf" in container.console
    assert "Hint: build the image again" in container.console


def test_a_policy_that_the_kernel_refuses_is_named(container: Container) -> None:
    container.policy = b"\xff" * 8
    container.start()
    assert container.status() == 127
    words = "cannot install the policy of /.onejob/filters.bpf as seccomp filter: Invalid argument"
    assert words in container.console


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("ONEJOB_DATA=/dev/nothing", "the data device /dev/nothing did not appear"),
        ("ONEJOB_DATA=/dev/null", "/dev/null is not a block device"),
        ("ONEJOB_DATA=tmpfs:much", "ONEJOB_DATA=tmpfs:much is not a place for data"),
        ("ONEJOB_DATA_IS_NOT_SET=1", "the plan keeps data, but ONEJOB_DATA is not set"),
    ],
)
def test_missing_data_is_named(container: Container, variable: str, words: str) -> None:
    container.environment[1] = variable
    container.start()
    assert container.status() == 1
    assert f"onejob: {words}" in container.console


def test_control_that_is_not_open_is_named(container: Container) -> None:
    container.environment[0] = "ONEJOB_CONTROL=fd:9"
    container.start()
    assert container.status() == 1
    assert "ONEJOB_CONTROL names descriptor 9, which is not open" in container.console


def test_no_control_channel_at_all(container: Container) -> None:
    container.environment[0] = "UNRELATED=1"
    container.start("exit", "5")
    assert container.status() == 5


def test_command_that_cannot_be_executed(container: Container) -> None:
    container.plan["command"] = ["/usr/sbin/nginx"]
    container.start()
    assert container.status() == 127
    assert "cannot execute /usr/sbin/nginx: No such file or directory" in container.console
    assert container.rest() == [{"event": "exited", "status": 127}]


def test_missing_directory_is_named(container: Container) -> None:
    container.plan["directory"] = "/nowhere"
    container.start()
    assert container.status() == 127
    assert "cannot change to the directory /nowhere: No such file or directory" in container.console


def test_outside_of_its_own_system_it_touches_nothing() -> None:
    ended = subprocess.run([native_path("onejob-init")], capture_output=True, timeout=SECONDS)
    assert ended.returncode == 1
    assert b"onejob-init only works as process 1" in ended.stderr


def test_it_is_small_and_needs_nothing() -> None:
    binary = native_path("onejob-init")
    # Of these, 26 kB judge new slots, keep core files and end jobs.
    assert binary.stat().st_size <= 320_000
    headers = subprocess.check_output(["readelf", "-lW", str(binary)], text=True)
    assert "INTERP" not in headers
    assert "DYNAMIC" not in headers
