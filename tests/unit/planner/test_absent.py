"""Paths that a program may look for in vain, by each way that leads there."""

from onejob.model.absent import path_key
from onejob.model.plan import LeftOut, Mount
from onejob.model.profile import FileKind, FileUse, How, Profile, Use
from onejob.planner.absent import plan_absent

WEB, OTHER = "/usr/sbin/web", "/usr/bin/other"


def file(path: str, how: How, kind: FileKind = "file", program: str = WEB) -> FileUse:
    return FileUse(path=path, kind=kind, uses=(Use(program=program, drill="d", how=how, count=1),))


def test_what_was_missing_is_left_out_or_comes_and_goes() -> None:
    profile = Profile(
        files=(
            file("/etc/there", "read"),
            file("/etc/missing", "missing", "missing"),
            file("/etc/others", "missing", "missing", OTHER),
            file("/bin/sh", "looked-up"),
            file("/run/web.pid", "removed"),
            file("/var/data/read-only", "read"),
            file("/usr/lib/web/none.so", "missing", "missing"),
            FileUse(path="/lib", kind="symlink", target="usr/lib"),
            FileUse(path="/usr/lib/web/none.so.1", kind="symlink", target="none.so"),
        )
    )
    mounts = (Mount(path="/var/data", kind="data", reason="-"),)
    [found] = plan_absent(profile, {WEB}, mounts, (LeftOut(path="/bin/sh", reason="-"),))
    assert found.program == WEB
    assert found.paths == (
        "/bin/sh", "/etc/missing", "/lib/web/none.so", "/run/web.pid", "/usr/lib/web/none.so",
        "/var/data/read-only",
    )  # fmt: skip


def test_a_program_without_counts_has_none() -> None:
    assert plan_absent(Profile(files=(file("/x", "missing"),)), set(), (), ()) == ()


def test_keys_are_fnv_of_the_bytes_that_are_looked_at() -> None:
    assert path_key("/etc/hosts") == 0x9478A4CAEA3197B8
    assert path_key("/" + "x" * 223) == path_key("/" + "x" * 500)
    assert path_key("/" + "x" * 222) != path_key("/" + "x" * 223)
