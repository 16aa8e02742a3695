"""Which paths that were asked for in vain a profile does not have so, and what comes of them."""

from typing import Any

import pytest

from onejob.model.drift import Drifted, find_drift
from onejob.model.observations import Observations, UnexpectedFile
from onejob.model.profile import CallUse, DrillRun, FileKind, FileUse, How, Profile, Use
from onejob.model.profile_merge import Labelled, merge_profiles
from onejob.model.profile_observed import profile_observed
from onejob.model.unexpected import PRODUCTION
from some_observations import WEB, observations

ENOENT, EACCES, EROFS = 2, 13, 30


def use(how: How, drill: str = "serve") -> Use:
    return Use(program=WEB, drill=drill, how=how, count=1)


def file(path: str, *uses: Use, kind: FileKind = "file", **changes: Any) -> FileUse:
    return FileUse(path=path, kind=kind, uses=uses, **changes)


FILES = (
    file("/etc/web.conf", use("read", "start")),
    file("/etc/web.local", use("missing", "start"), kind="missing"),
    file("/srv/pages/no-such-page", use("missing"), kind="missing"),
    file("/srv/lost", use("missing"), kind="missing"),
    file("/var/log/web/access.log", use("created")),
    file("/opt/web/own.zip", use("missing", "start"), use("missing"), kind="missing"),
    file("/opt/code/plugin", use("missing"), kind="missing"),
    file("/opt/code/bin/web", use("executed", "start")),
    file("/lib", kind="symlink", target="usr/lib"),
    file("/usr/lib/web/extra.so", use("missing", "start"), kind="missing"),
)


def profile(**changes: Any) -> Profile:
    failed = CallUse(
        program=WEB, call_name="openat", phase="serve", drill="serve", count=9, errors=(EACCES,)
    )
    fields: dict[str, Any] = {
        "name": "web", "program": WEB, "files": FILES, "calls": (failed,),
        "drills": (DrillRun(name="start", phase="boot"), DrillRun(name="serve", phase="serve")),
    }  # fmt: skip
    return Profile(**fields | changes)


def asked(path: str, how: How = "looked-up", error: int = ENOENT, count: int = 3) -> UnexpectedFile:
    return UnexpectedFile(program=WEB, path=path, how=how, error=error, count=count)


def seen(*files: UnexpectedFile, **changes: Any) -> Observations:
    more = {"denials": (), "folders": (), "unexpected_files": files}
    return observations(**{**more, **changes})


def drifted(*files: UnexpectedFile, **changes: Any) -> tuple[Drifted, ...]:
    return find_drift(profile(), seen(*files, **changes))


def test_a_path_that_was_never_looked_for_is_drift() -> None:
    [found] = drifted(asked("/etc/passwd.bak"))
    assert (found.kind, found.by, found.matters) == ("file", "+3", True)
    assert found.what == (
        f"{WEB} looked for /etc/passwd.bak in vain, which it never did when profiled"
    )


@pytest.mark.parametrize(
    "path", ["/etc/web.local", "/var/log/web/access.log", "/lib/web/extra.so", "/srv/lost"]
)
def test_what_was_missing_then_or_comes_and_goes_is_none(path: str) -> None:
    assert drifted(asked(path)) == ()


def test_a_file_that_the_image_lacks_is_drift() -> None:
    [found] = drifted(asked("/etc/web.conf", "read"))
    assert found.matters and "which was there when profiled" in found.what


def test_names_that_clients_choose_are_one_fact_of_their_folder() -> None:
    """Where the profile shows that, below the top: nobody chooses names in all of /srv."""
    names = [asked(f"/srv/pages/a/{number}", count=2) for number in range(23)]
    [found] = drifted(*names)
    assert (found.object, found.observed, found.matters) == (f"{WEB} /srv/pages", 46, False)
    assert "looked for 23 names below /srv/pages in vain" in found.what
    for path in ("/srv/other", "/opt/web/other", "/opt/code/bin/other"):
        [found] = drifted(asked(path))
        assert found.matters, path


def test_names_that_the_kernel_makes_up_do_not_matter() -> None:
    [found] = drifted(asked("/proc/4711/stat"))
    assert not found.matters


@pytest.mark.parametrize(
    ("how", "error", "matters"),
    [
        ("created", EROFS, True),
        ("read", EROFS, True),
        ("read", EACCES, False),
        ("written", EACCES, True),
        ("executed", EACCES, True),
    ],
)
def test_what_is_refused_matters_but_looks_that_were_refused_before(
    how: How, error: int, matters: bool
) -> None:
    [found] = drifted(asked("/etc/web.conf", how, error))
    assert found.matters == matters
    assert f"was refused /etc/web.conf ({how}, " in found.what


def test_more_than_are_listed_is_said() -> None:
    [found] = drifted(unexpected_files_unlisted=70)
    assert (found.object, found.observed, found.matters) == ("unlisted", 70, False)


def next_profile(*files: UnexpectedFile, without: frozenset[str] = frozenset()) -> Profile:
    made = profile_observed(seen(*files), profile(), without)
    return merge_profiles([Labelled("first", profile()), Labelled("observed", made)])


def test_the_next_profile_knows_them() -> None:
    files = (asked("/etc/new"), asked("/var/log/web/more", "created", EROFS), asked("/lib/x/y"))
    merged = next_profile(*files)
    found = {file.path: file for file in merged.files}
    assert found["/etc/new"].kind == "missing"
    assert found["/etc/new"].uses == (Use(program=WEB, drill=PRODUCTION, how="missing", count=3),)
    assert found["/var/log/web/more"].uses[0].how == "created"
    assert "/usr/lib/x/y" in found and "/lib/x/y" not in found
    again = find_drift(merged, seen(*files))
    assert [each.object for each in again] == [f"{WEB} /var/log/web/more"]


def test_what_is_left_out_or_does_not_matter_is_not_in_the_next_profile() -> None:
    files = (asked("/etc/new"), asked("/srv/pages/scan"), asked("/etc/web.conf"))
    merged = next_profile(*files, without=frozenset({"/etc/new"}))
    assert {file.path for file in merged.files} == {file.path for file in FILES}
    [kept] = [file for file in merged.files if file.path == "/etc/web.conf"]
    assert kept.kind == "file" and [use.how for use in kept.uses] == ["read"]
