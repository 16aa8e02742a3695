"""A seccomp profile says what somebody allowed, which is not that anybody was seen to need it."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_import_strace import partial

from onejob.model.errors import InputError
from onejob.model.profile import Profile
from onejob.model.profile_merge import Labelled, merge_profiles
from onejob.planner.evidence import Evidence
from onejob.profiler.imports.importing import import_profile

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
PROGRAM = "/usr/bin/thing"


def of(folder: Path, document: Any) -> Profile:
    path = folder / "seccomp.json"
    path.write_text(json.dumps(document))
    return import_profile([path], PROGRAM)


def rules(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"defaultAction": ERRNO, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": list(rows)}


def test_allowed_calls_are_the_users_and_counted_by_nobody(tmp_path: Path) -> None:
    profile = of(tmp_path, rules({"names": ["read", "write"], "action": ALLOW}))
    assert [(use.call_name, use.count, use.origin) for use in profile.calls] == [
        ("read", 0, "user"), ("write", 0, "user"),
    ]  # fmt: skip
    assert {use.program for use in profile.calls} == {PROGRAM}
    assert profile.system_calls == ()  # of which each was made at least once
    assert "its calls were allowed, and nobody counted them" in partial(profile)
    assert profile.events_lost == 0


def test_what_does_not_hold_here_is_said(tmp_path: Path) -> None:
    profile = of(
        tmp_path,
        rules(
            {"names": ["read", "sigreturn"], "action": ALLOW},
            {"names": ["ptrace"], "action": ERRNO, "errnoRet": 1},
            {"names": ["arm_fadvise64_64"], "action": ALLOW, "includes": {"arches": ["arm"]}},
            {"names": ["bpf"], "action": ALLOW, "includes": {"caps": ["CAP_BPF"]}},
            {"names": ["clone"], "action": ALLOW, "args": [{"index": 0, "value": 1, "op": "X"}]},
            {"name": "getpid", "action": ALLOW},
        ),
    )
    assert [use.call_name for use in profile.calls] == ["clone", "getpid", "read"]
    assert "1 calls that x86_64 does not have (sigreturn)" in partial(profile)
    assert "2 calls allowed only elsewhere or with a capability (arm_fadvise64_64, bpf)" in partial(
        profile
    )
    assert "1 calls allowed only with certain arguments (clone)" in partial(profile)


def test_a_whole_oci_configuration_has_it_inside(tmp_path: Path) -> None:
    inner = rules({"names": ["read"], "action": ALLOW})
    profile = of(tmp_path, {"ociVersion": "1.0", "linux": {"seccomp": inner}})
    assert [use.call_name for use in profile.calls] == ["read"]


def test_merged_with_what_was_seen_the_reason_is_true(tmp_path: Path) -> None:
    allowed = of(tmp_path, rules({"names": ["read", "write"], "action": ALLOW}))
    log = tmp_path / "log"
    log.write_text('read(3, "", 1) = 0\n')
    seen = import_profile([log], PROGRAM)
    merged = merge_profiles([Labelled("seen", seen), Labelled("allowed", allowed)])
    evidence = Evidence(merged)
    assert evidence.call_reason("read") == f"made 1 times by {PROGRAM} in imported"
    assert evidence.call_reason("write") == f"allowed by the user for {PROGRAM}, and never counted"


BAD = [
    ("{", "no JSON"),
    ('{"syscalls": []}', "defaultAction is missing"),
    ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}', "allows what it does not name"),
    ('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {}}', "no list"),
    ('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [7]}', "no object"),
    ('{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": [7]}]}', "no names"),
    ('{"syscalls":' + "[" * 100_000, "no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), BAD)
def test_what_is_no_seccomp_profile_is_refused(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "seccomp.json"
    path.write_text(text if "syscalls" in text else '{"defaultAction"' + text)
    with pytest.raises(InputError, match=why):
        import_profile([path], PROGRAM)
