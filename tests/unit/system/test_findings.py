"""What a rehearsal finds wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from built_plans import folder, make_plan, symlink, text_file
from onejob.model.errors import InputError
from onejob.model.plan import Plan
from onejob.model.plan_policy import ArgumentCheck
from onejob.model.profile import CallUse, FileUse, Profile, Use
from onejob.system.findings import (
    PlannedRoot,
    asked_in_vain,
    denied,
    left_out,
    not_narrowed,
    refused_files,
)
from onejob.system.instance import Denial

PROGRAM = "/usr/sbin/daemon"


def used(path: str, *hows: Any, **more: Any) -> FileUse:
    uses = tuple(Use(program=PROGRAM, drill="serve", how=how, count=1) for how in hows)
    return FileUse(path=path, **{"kind": "file", "uses": uses, **more})


def plan_with_links() -> Plan:
    files = (
        folder("/usr"), folder("/usr/lib"), text_file("/usr/lib/libc.so.6"),
        symlink("/lib", "usr/lib"), symlink("/usr/lib/libz.so", "/lib/../lib/libc.so.6"),
        symlink("/loop", "loop"), symlink("/log", "/var/log/truth"), folder("/var"),
        folder("/var/log"),
    )  # fmt: skip
    return make_plan(files=files)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/", True), ("/usr/lib/libc.so.6", True), ("/lib/libc.so.6", True), ("/lib/libz.so", True),
        ("/lib/none", False), ("/loop/x", False), ("/proc/1/stat", True), ("/log/access", True),
        ("/usr/lib/../lib", True), ("/etc", False),
    ],
)  # fmt: skip
def test_the_planned_root_follows_links_and_mounts(path: str, there: bool) -> None:
    assert PlannedRoot(plan_with_links()).has(path) is there


def test_files_left_out_are_found() -> None:
    files = (
        used("/lib/libc.so.6", "mapped"),
        used("/etc/daemon.conf", "read"),
        used("/etc/ld.so.preload", "missing", kind="missing", existed=False),
        used("/etc/sometimes", "read", "missing"),
        used("/srv/made", "created", "written", existed=False),
        used("/proc/stat", "read"),
    )
    found = left_out(Profile(files=files), plan_with_links())
    assert [f.kind for f in found] == ["missing-file"]
    assert found[0].object == "/etc/daemon.conf was used when profiled, and the image lacks it"
    assert "include" in found[0].remedy


def recording(folder: Path, *files: tuple[int, str, int]) -> Path:
    data = {
        "programs": [{"id": 0, "path": "/usr/sbin/runc"}, {"id": 1, "path": PROGRAM}],
        "files": [{"program": p, "path": path, "error": e, "count": 2} for p, path, e in files],
    }
    (folder / "recording.json").write_text(json.dumps(data))
    return folder / "recording.json"


OPENAT, STAT, RENAME = 257, 4, 82


def refused(folder: Path, *files: tuple[str, int, int, int], **more: Any) -> list[str]:
    """What is found of refused calls: path, call, flags, error."""
    seen = [
        {"program": 1, "path": path, "nr": nr, "flags": flags, "error": error, "count": 3}
        for path, nr, flags, error in files
    ]
    data = {"programs": [{"id": 1, "path": PROGRAM}], "files": seen}
    (folder / "recording.json").write_text(json.dumps(data))
    known = (used("/var/log/truth", "appended"), used("/etc/daemon.conf", "written"))
    profile = Profile(files=known, **more)
    found = refused_files(folder / "recording.json", profile, make_plan())
    return [finding.object for finding in found]


def test_a_change_that_was_refused_and_was_made_when_profiled_is_found(tmp_path: Path) -> None:
    found = refused(
        tmp_path, ("/var/log/truth", OPENAT, 0o2001, 13), ("/var/log/truth", RENAME, 0, 1)
    )
    assert found == [f"{PROGRAM} was refused /var/log/truth (6x), which it could use when profiled"]


def test_lookups_other_files_and_usual_errors_are_no_findings(tmp_path: Path) -> None:
    looked = (("/var/log/truth", STAT, 0, 13), ("/var/log/truth", OPENAT, 0, 13))
    others = (("/var/log/new", OPENAT, 1, 13), ("/etc/daemon.conf", OPENAT, 1, 30))
    assert refused(tmp_path, *looked, *others) == []
    usual = CallUse(
        program=PROGRAM, call_name="openat", phase="boot", drill="start", count=2, failed=1,
        errors=(13,),
    )  # fmt: skip
    assert refused(tmp_path, ("/var/log/truth", OPENAT, 1, 13), calls=(usual,)) == []


def test_what_is_asked_for_in_vain_counts_only_for_the_service(tmp_path: Path) -> None:
    calls = (CallUse(program=PROGRAM, call_name="read", phase="boot", drill="start", count=1),)
    files = (used("/etc/daemon.conf", "read"), used("/proc/7/stat", "read"), used("/a", "missing"))
    seen = recording(
        tmp_path, (1, "/etc/daemon.conf", 2), (0, "/etc/daemon.conf", 2), (1, "/a", 2),
        (1, "/proc/7/stat", 2), (1, "/etc/daemon.conf", 0), (1, "/etc/other", 2),
    )  # fmt: skip
    found = asked_in_vain(seen, Profile(files=files, calls=calls), make_plan())
    assert [f.object for f in found] == [
        f"{PROGRAM} asked for /etc/daemon.conf (2x) and the image lacks it"
    ]


def test_a_broken_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"programs": [}')
    with pytest.raises(InputError, match=r"recording .*/r"):
        asked_in_vain(tmp_path / "r", Profile(), make_plan())


def test_a_denial_names_call_program_count_and_remedy() -> None:
    (finding,) = denied([Denial("shutdown", PROGRAM, 3)])
    assert finding.object == f"shutdown was refused to {PROGRAM} 3 times"
    assert "add a drill" in finding.remedy
    assert "profile again" in finding.remedy


def test_a_denial_names_the_row_that_refused_it() -> None:
    (finding,) = denied([Denial("shutdown", PROGRAM, 1, "worker", "serve")])
    assert finding.object == f"shutdown was refused to {PROGRAM} (worker, serve) once"


def test_a_denial_names_the_arguments_that_were_checked() -> None:
    words = (0xFFFFFFFF, 0xFFF7F7FF, 0xFFFFFFFF)
    check = ArgumentCheck(
        call="socket", arguments=(0, 1, 2), masks=words, values=((1, 1, 0),), reason="test"
    )
    syslog = Denial("socket", PROGRAM, 1, args=(1, 0x80002, 0, 0, 90, 115))
    (finding,) = denied([syslog], [check])
    assert finding.object == f"socket (unix dgram) was refused to {PROGRAM} once"
    for denial, checks in ((syslog, []), (Denial("socket", PROGRAM, 1), [check])):
        (finding,) = denied([denial], checks)
        assert finding.object == f"socket was refused to {PROGRAM} once"


def test_a_row_that_could_not_be_put_on_is_a_finding() -> None:
    events = ({"why": why, "reason": f"{why} of it"} for why in ("no-row", "restless", "failed"))
    found = not_narrowed(events)
    assert [(each.kind, each.object) for each in found] == [
        ("row", "no-row of it"), ("row", "failed of it"),
    ]  # fmt: skip
    assert "add a drill in which it runs" in found[0].remedy
