"""Grants: what each program may change and execute, by folder."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import small_world
from onejob.builder.domains import RIGHTS, domains_of
from onejob.builder.instance import instance_text
from onejob.model.paths import is_below
from onejob.model.plan import Mount
from onejob.model.plan_policy import Grant, Right
from onejob.model.profile import CallUse, FileUse, How, Start, Use
from onejob.planner.files import INIT_PATH, plan_files, plan_mounts
from onejob.planner.grants import plan_grants
from onejob.planner.plan import make_plan
from small_world import PROGRAM

HELPER = "/usr/bin/helper"
LOG = "/var/log/keeper"


def used(path: str, *hows: How, by: str = PROGRAM, **more: Any) -> FileUse:
    uses = tuple(Use(program=by, drill="serve", how=how, count=1) for how in hows)
    return FileUse(path=path, **{"kind": "missing", "existed": False, "uses": uses, **more})


def folder(path: str) -> FileUse:
    return used(path, "looked-up", kind="directory", existed=True)


def calls(*names: str, by: str = PROGRAM) -> tuple[CallUse, ...]:
    return tuple(
        CallUse(program=by, call_name=name, phase="serve", drill="serve", count=1) for name in names
    )


def granted(*files: FileUse, **more: Any) -> dict[tuple[str, str], set[Right]]:
    profile = small_world.profile(files=files, **{"calls": (), "starts": (), **more})
    mounts, _ = plan_mounts(profile)
    planned, _ = plan_files(profile, mounts, {}, set())
    grants = plan_grants(profile, mounts, planned)
    assert all(grant.reason for grant in grants)
    return {(grant.program, grant.path): set(grant.rights) for grant in grants}


def test_a_log_is_extended_and_never_emptied_or_removed() -> None:
    found = granted(folder(LOG), used(f"{LOG}/log", "created", "appended"))
    assert found[PROGRAM, LOG] == {"write-file", "make-reg"}


def test_a_stale_file_that_the_image_lacks_may_be_made_anew() -> None:
    found = granted(used("/run/old.pid", "written", kind="file", existed=True))
    assert found[PROGRAM, "/run"] == {"write-file", "make-reg", "truncate"}


def test_what_is_written_may_be_emptied_and_what_is_replaced_removed() -> None:
    files = (
        used("/run/pid.new", "created", "written", "renamed-from"),
        used("/run/pid", "renamed-to"),
    )
    found = granted(*files)
    assert found[PROGRAM, "/run"] == {"write-file", "make-reg", "remove-file", "truncate"}


def test_a_folder_that_the_service_makes_is_granted_by_the_one_above() -> None:
    data = "/var/lib/keeper"
    files = (folder(data), used(f"{data}/new", "created"), used(f"{data}/new/table", "created"))
    found = granted(*files, calls=calls("mkdir"))
    assert found[PROGRAM, data] == {"write-file", "make-reg", "make-dir"}
    assert (PROGRAM, f"{data}/new") not in found


def test_folders_between_which_files_are_moved_are_alike() -> None:
    files = (
        folder("/var/spool/a"), folder("/var/spool/b"), folder(LOG),
        used("/var/spool/a/1", "created", "renamed-from"), used("/var/spool/b/1", "renamed-to"),
        used(f"{LOG}/log", "appended"),
    )  # fmt: skip
    found = granted(*files)
    assert found[PROGRAM, "/var/spool/a"] == found[PROGRAM, "/var/spool/b"]
    assert "refer" in found[PROGRAM, "/var/spool/a"]
    assert found[PROGRAM, LOG] == {"write-file"}


def test_programs_are_told_apart_and_keep_what_they_execute_needs() -> None:
    files = (
        used(PROGRAM, "executed", kind="file", existed=True, interpreter="/lib64/ld.so"),
        used(HELPER, "executed", kind="file", existed=True, by=HELPER, interpreter="/lib64/ld.so"),
        folder(LOG), used(f"{LOG}/log", "appended"),
        used("/run/helper", "created", "written", by=HELPER),
    )  # fmt: skip
    start = Start(program=PROGRAM, child=HELPER, drill="serve", how="exec", count=1)
    found = granted(*files, starts=(start,))
    assert found[PROGRAM, HELPER] == found[PROGRAM, "/lib64/ld.so"] == {"execute"}
    assert found[PROGRAM, "/run"] == found[HELPER, "/run"]
    assert {path for program, path in found if program == HELPER} == {"/run"}
    assert (PROGRAM, PROGRAM) not in found
    first = {path for program, path in found if program == INIT_PATH}
    assert first == {"/run", LOG, PROGRAM, HELPER, "/lib64/ld.so"}


def test_of_the_kernels_files_only_writing_is_granted() -> None:
    files = (
        used("/dev/null", "written", kind="device", existed=True), used("/proc/7/comm", "written"),
        used("/dev/stderr", "appended"), used("/proc/sys/net/x", "written"),
    )  # fmt: skip
    found = {
        path: rights for (program, path), rights in granted(*files).items() if program == PROGRAM
    }
    assert set(found) == {"/dev/null", "/proc", "/dev/console", "/proc/sys/net/x"} - {
        "/proc/sys/net/x"
    }
    assert all(rights == {"write-file"} for rights in found.values())


def test_what_stays_read_only_is_not_granted() -> None:
    assert [path for _, path in granted(used("/etc/new", "created"))] == []


def test_a_service_that_mounts_is_not_put_under_landlock() -> None:
    made = make_plan(
        small_world.profile(calls=calls("mount")), small_world.hardware(), small_world.components()
    )
    assert (made.landlock, made.grants, made.network) == ("none", (), None)
    assert '"network"' not in instance_text(made, (0, 5), {})
    assert any("Landlock does not restrict" in warning for warning in made.warnings)


HOWS = st.sampled_from(
    ["written", "appended", "created", "renamed-from", "renamed-to", "removed", "read"]
)
PATHS = st.sampled_from(["/run/a", "/run/b/c", f"{LOG}/log", "/var/lib/keeper/x/y", "/tmp/z"])


@given(st.lists(st.tuples(PATHS, HOWS, st.sampled_from([PROGRAM, HELPER])), min_size=1))
def test_every_change_that_was_seen_is_granted_and_nothing_outside_of_the_mounts(
    seen: list[tuple[str, How, str]],
) -> None:
    profile = small_world.profile(files=[used(p, how, by=by) for p, how, by in seen], calls=())
    mounts, _ = plan_mounts(profile)
    files, _ = plan_files(profile, mounts, {}, set())
    grants = plan_grants(profile, mounts, files)
    needs: dict[str, Right] = {
        "written": "write-file", "appended": "write-file", "created": "make-reg",
        "renamed-to": "make-reg", "renamed-from": "remove-file", "removed": "remove-file",
    }  # fmt: skip
    for path, how, by in seen:
        over = [g for g in grants if g.program == by and is_below(path, g.path)]
        assert how not in needs or any(needs[how] in grant.rights for grant in over)
    tops = [mount.path for mount in mounts if mount.kind in ("data", "tmpfs")]
    for grant in grants:
        assert grant.rights == ("execute",) or any(is_below(grant.path, top) for top in tops)


def test_programs_with_the_same_grants_share_a_domain_and_process_1_has_the_first() -> None:
    def grant(program: str, path: str, *rights: Right) -> Grant:
        return Grant(program=program, path=path, rights=rights, reason="seen")

    found = domains_of(
        [
            grant("/a", "/run", "write-file"), grant("/b", "/run", "write-file"),
            grant("/a", "/tmp", "make-reg"), grant("/b", "/tmp", "make-reg"),
            grant("/init", "/a", "execute"),
        ],
        "/init",
    )  # fmt: skip
    assert found == [
        {"programs": ["/init"], "rules": [("/a", 1)]},
        {"programs": ["/a", "/b"], "rules": [("/run", 2), ("/tmp", 256)]},
    ]


def test_rights_are_the_kernels_bits() -> None:
    """linux/landlock.h of this machine says the same."""
    names = {right: f"LANDLOCK_ACCESS_FS_{right.upper().replace('-', '_')}" for right in RIGHTS}
    header = Path("/usr/include/linux/landlock.h").read_text()
    for right, name in names.items():
        if name in header:  # those of a newer kernel than the headers' are not there
            shift = header.split(f"#define {name}")[1].split("<<")[1].split(")")[0]
            assert RIGHTS[right] == 1 << int(shift)


def test_mounts_that_vanish_leave_nothing_to_grant() -> None:
    profile = small_world.profile(files=[used("/run/a", "created")], calls=())
    other = (Mount(path="/tmp", kind="tmpfs", reason="", size_kib=1),)
    assert plan_grants(profile, other, ()) == ()
