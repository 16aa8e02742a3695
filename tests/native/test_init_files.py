"""Process 1 keeps each program to the files that the plan grants it, by Landlock."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from init_container import ASK, Container, call_filter, compile_job
from rows_container import BOOT, UNION, make_container, put_row

from onejob.builder.domains import RIGHTS
from onejob.model.plan_policy import Right

pytestmark = [pytest.mark.root, pytest.mark.runc]

# truncate, ftruncate, rename, mkdir, unlink, symlink, mount, mknodat
TRIED = {76, 77, 82, 83, 87, 88, 165, 259}
REFUSED = "Permission denied"
LOG = "/var/log/job"


def rule(path: str, *rights: Right) -> tuple[str, int]:
    return path, sum(RIGHTS[right] for right in rights)


JOB = (rule(LOG, "write-file", "make-reg"), rule("/other", "execute"))
OTHER = (rule("/run", "write-file", "make-reg", "truncate", "remove-file"),)


@pytest.fixture(scope="session", params=["-static", "-no-pie"], ids=["static", "dynamic"])
def files_job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_job(tmp_path_factory.mktemp("files"), "files_job.c", request.param)


@pytest.fixture
def files(tmp_path: Path, files_job: Path) -> Iterator[Container]:
    """Two programs; the first one may execute the second, and not itself."""
    made = make_container(tmp_path, files_job)
    shutil.copy(files_job, made.root / "third")
    made.policy = call_filter(UNION | TRIED, ASK)
    for number in range(3):
        put_row(made, number, BOOT | TRIED)
    rows = made.plan["rows"]
    made.plan["rows"] = [*rows, {**rows[0], "program": "/other"}]
    made.plan["landlock"] = {"required": True, "domains": domains(made)}
    yield made
    made.clean()


def domains(container: Container) -> list[dict[str, Any]]:
    loader = [path for path in container.root.glob("lib*/**/ld-linux*") if path.is_file()]
    start = [rule("/job", "execute")]
    start += [rule(f"/{path.relative_to(container.root)}", "execute") for path in loader]
    return [
        {"programs": ["/init"], "rules": [*start, *JOB, *OTHER]},
        {"programs": ["/job"], "rules": [*start[1:], *JOB, *OTHER]},
        {"programs": ["/other"], "rules": OTHER},
    ]


def said(container: Container, *words: str) -> dict[str, str]:
    """What became of each attempt."""
    container.start(*words)
    container.await_text("ready")
    return dict(re.findall(r"^(/\S+ \S+ \S+): (.*)$", container.console, re.M))


def test_a_log_can_be_extended_and_not_emptied_renamed_or_removed(files: Container) -> None:
    log = f"{LOG}/log"
    verbs = ("append", "empty", "shorten", "remove", "to-old", "append", "read")
    found = said(files, *(word for verb in verbs for word in (verb, log)))
    assert [found[f"/job {verb} {log}"] for verb in ("append", "read")] == ["done", "done"]
    for verb in ("empty", "shorten", "remove", "to-old"):
        assert found[f"/job {verb} {log}"] == REFUSED
    assert files.text_of(log) == "xx"


@pytest.mark.parametrize("verb", ["mkdir", "symlink", "fifo", "socket"])
def test_nothing_is_made_that_was_not_granted(files: Container, verb: str) -> None:
    path = f"{LOG}/new"
    assert said(files, verb, path) == {f"/job {verb} {path}": REFUSED}
    assert files.ask("exists", path=path) is False


def test_nothing_is_mounted_over_programs_though_root_has_the_right(files: Container) -> None:
    files.plan["capabilities"].append(21)  # CAP_SYS_ADMIN
    found = said(files, "mount", "/run", "bind-mount", LOG)
    assert set(found.values()) == {"Operation not permitted"}


def test_each_program_has_its_own_grants_and_loses_those_of_whoever_started_it(
    files: Container,
) -> None:
    kept = [word for path in (f"{LOG}/a", "/run/a") for word in ("append", path)]
    found = said(files, *kept, "execute", "/other", *kept, "empty", "/run/a", "remove", "/run/a")
    assert found[f"/job append {LOG}/a"] == "done"
    assert found[f"/other append {LOG}/a"] == REFUSED
    assert {found[f"/other {verb} /run/a"] for verb in ("append", "empty", "remove")} == {"done"}


def test_no_program_is_executed_but_those_granted_to_it(files: Container) -> None:
    found = said(
        files, "execute", "/job", "execute", "/third", "execute", "/other", "execute", "/other"
    )
    assert found == {
        "/job execute /job": REFUSED, "/job execute /third": REFUSED,
        "/other execute /other": REFUSED,
    }  # fmt: skip


def test_the_service_is_left_no_descriptor(files: Container) -> None:
    said(files, "execute", "/other")
    assert "ready, 0 descriptors" in files.console


def test_rotation_by_the_administrator_goes_on(files: Container) -> None:
    said(files, "append", f"{LOG}/log")
    files.ask("rename", **{"from": f"{LOG}/log", "to": f"{LOG}/log.1"})
    assert files.text_of(f"{LOG}/log.1") == "x"


def test_without_rows_all_programs_have_the_first_domain(files: Container) -> None:
    del files.plan["rows"]
    found = said(files, "execute", "/other", "append", f"{LOG}/a", "mkdir", f"{LOG}/b")
    assert list(found.values()) == ["done", REFUSED]


def test_a_folder_that_became_a_link_is_not_followed(files: Container) -> None:
    (files.root / "data").symlink_to("var/log/job")
    for domain in files.plan["landlock"]["domains"]:
        domain["rules"] = [*domain["rules"], rule("/data", "make-dir")]
    assert said(files, "mkdir", f"{LOG}/a") == {f"/job mkdir {LOG}/a": REFUSED}
    assert "/data is not there to be written or executed: Too many levels" in files.console


@pytest.mark.parametrize("required", [True, False])
def test_a_kernel_without_landlock_is_an_error_where_the_plan_says_so(
    files: Container, required: bool
) -> None:
    files.plan["landlock"]["required"] = required
    # What a kernel without it says: function not implemented.
    files.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["landlock_create_ruleset"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
        ],
    }  # fmt: skip
    files.start("mkdir", f"{LOG}/a")
    if required:
        assert files.status() == 1
        assert "this kernel has no Landlock (version 3)" in files.console
    else:
        files.await_text("ready")
        assert "owners and modes of files decide alone" in files.console
        assert f"/job mkdir {LOG}/a: done" in files.console
