"""Texts of perf trace, recorded from real programs, become the facts that they hold."""

from pathlib import Path

import pytest
from test_import_strace import GOLDEN, KNOWN, TIMES, arguments, counts, partial, uses

from onejob.model.profile import Profile
from onejob.profiler.imports.importing import import_profile

LINE = "     0.348 ( 0.017 ms): thing/7568 {:<60} = {}"


def of_calls(folder: Path, *calls: tuple[str, str], more: str = "") -> Profile:
    path = folder / "log"
    path.write_text("".join(LINE.format(*call) + "\n" for call in calls) + more)
    return import_profile([path], "/usr/bin/thing")


def test_a_recorded_text_is_read_whole() -> None:
    profile = import_profile([GOLDEN / "thread-exec.perf"], KNOWN)
    assert profile.events_lost == 0
    assert {row.program for row in profile.calls} == {KNOWN, "true"}
    assert counts(profile)["clone3"] == (1, 0)
    assert counts(profile)["exit_group"] == (1, 0)
    assert arguments(profile, "prlimit64") == {(3,): 2}
    assert arguments(profile, "mmap")[3, 0x22] > 1
    assert "paths that the log does not hold" in partial(profile)


def test_a_summary_counts_by_program_with_errors() -> None:
    profile = import_profile([GOLDEN / "known-s.perf"], KNOWN)
    assert profile.events_lost == 0
    assert counts(profile)["getppid"] == (TIMES, 0)
    assert counts(profile)["connect"] == (TIMES, TIMES)
    assert {row.program for row in profile.calls} == {KNOWN}
    assert counts(profile)["renameat2"] == (TIMES, 0)
    (connect,) = [use for use in profile.calls if use.call_name == "connect"]
    assert connect.errors == ()  # it does not say which


def test_symbols_without_their_beginnings_and_zeros_left_out(tmp_path: Path) -> None:
    profile = of_calls(
        tmp_path,
        ("socket(family: INET, type: STREAM|CLOEXEC)", "3"),
        ("setsockopt(fd: 3<socket:[9]>, level: 1, optname: 2, optlen: 4)", "0"),
        ("fcntl(fd: 3, cmd: GETFL)", "RDONLY|LARGEFILE"),
        ("fcntl(fd: 3)", "4"),
        ("rt_sigaction(sig: CHLD, act: 0x7ffe)", "0"),
        ("futex(uaddr: 0x7fc9, op: WAKE|PRIVATE_FLAG, val: 1)", "0"),
        ("getrandom(ubuf: 0x7fc9, len: 8, flags: NONBLOCK)", "8"),
        ("clone(clone_flags: CHILD_CLEARTID|0x11)", "7568 (thing)"),
        ('openat(dfd: CWD, filename: "/etc/none", flags: RDONLY|CLOEXEC)', "-1 ENOENT (No such)"),
    )
    assert arguments(profile, "socket") == {(2, 0x80001, 0): 1}
    assert arguments(profile, "setsockopt") == {(1, 2): 1}
    assert arguments(profile, "fcntl") == {(3,): 1, (0,): 1}
    assert arguments(profile, "rt_sigaction") == {(17,): 1}
    assert arguments(profile, "futex") == {(129,): 1}
    assert arguments(profile, "getrandom") == {(1,): 1}
    assert arguments(profile, "clone") == {(0x200011,): 1}
    assert uses(profile, "/etc/none") == {"missing": 1}
    assert profile.events_lost == 0


def test_what_perf_lost_and_what_is_no_perf_is_lost(tmp_path: Path) -> None:
    profile = of_calls(tmp_path, ("getpid()", "7"), more="LOST 12 events!\nhello\n")
    assert profile.events_lost == 13
    assert "lost: 12 events that perf lost" in partial(profile)
    assert "lost: 1 lines that are no perf trace (hello)" in partial(profile)


@pytest.mark.parametrize(
    "end", ["", "     0.9 ( 0.1 ms): thing/7568  ... [continued]: read()) = 1\n"]
)
def test_a_call_in_two_parts_is_one(end: str, tmp_path: Path) -> None:
    begun = "     0.1 (         ): thing/7568 read(fd: 4<pipe:[7]>, buf: 0x7f, count: 1)    ...\n"
    assert counts(of_calls(tmp_path, more=begun + end)) == {"read": (1, 0)}
