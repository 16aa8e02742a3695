"""What of /proc and /dev a service may change, by what its profile shows."""

from typing import Any

import pytest

import small_world
from onejob.model.plan import Mount
from onejob.model.profile import FileUse, Use
from onejob.planner.kernel_files import kernel_mounts

ALWAYS = ("/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero")


def used(path: str, how: Any, kind: Any = "file") -> FileUse:
    return FileUse(path=path, kind=kind, uses=(Use(program="/x", drill="a", how=how, count=1),))


def mounts(*files: FileUse) -> dict[str, Mount]:
    profile = small_world.profile().model_copy(update={"files": files})
    return {mount.path: mount for mount in kernel_mounts(profile, ("/dev/shm",))}


@pytest.mark.parametrize(
    ("file", "read_only"),
    [
        (used("/proc/self/status", "read"), ["/proc", "/dev"]),
        (used("/proc/self/oom_score_adj", "written"), ["/dev"]),
        (used("/dev/null", "written", "device"), ["/proc", "/dev"]),
        (used("/dev/log", "bound", "socket"), ["/proc"]),
        (used("/dev/x", "created"), ["/proc"]),
        (used("/dev/shm/x", "created"), ["/proc", "/dev"]),
        (used("/process/x", "written"), ["/proc", "/dev"]),
    ],
)
def test_what_no_drill_changed_is_read_only(file: FileUse, read_only: list[str]) -> None:
    assert [path for path, mount in mounts(file).items() if mount.read_only] == read_only


def test_a_change_is_the_reason_to_leave_it_writable() -> None:
    reason = mounts(used("/proc/self/oom_score_adj", "written"))["/proc"].reason
    assert reason.endswith("; /proc/self/oom_score_adj written by /x in a (once)")


def test_devices_of_the_profile_stay() -> None:
    found = mounts(used("/dev/kvm", "read", "device"), used("/dev/x", "missing", "missing"))
    assert found["/dev"].devices == tuple(sorted((*ALWAYS, "/dev/kvm")))
    assert found["/proc"].devices == ()
