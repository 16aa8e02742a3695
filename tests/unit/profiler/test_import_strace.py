"""Logs of strace, recorded from real programs, become the facts that they hold."""

from collections import Counter
from pathlib import Path

import pytest

from onejob.model.errors import InputError
from onejob.model.profile import Profile
from onejob.profiler.imports.importing import import_profile

GOLDEN = Path(__file__).resolve().parents[2] / "golden/imports"
KNOWN = "/tmp/onejob-known/known"
TIMES = 23


def of_lines(folder: Path, *lines: str, program: str = "/usr/bin/thing") -> Profile:
    path = folder / "log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return import_profile([path], program)


def counts(profile: Profile) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for use in profile.calls:
        count, failed = found.get(use.call_name, (0, 0))
        found[use.call_name] = count + use.count, failed + use.failed
    return found


def arguments(profile: Profile, name: str) -> Counter[tuple[int, ...]]:
    rows = Counter[tuple[int, ...]]()
    for row in profile.arguments:
        if row.call_name == name:
            rows[row.values] += row.count
    return rows


def uses(profile: Profile, path: str) -> dict[str, int]:
    file = profile.file(path)
    return {use.how: use.count for use in file.uses} if file else {}


def partial(profile: Profile) -> str:
    assert profile.provenance is not None
    return profile.provenance.partial


@pytest.fixture(scope="module")
def known() -> Profile:
    return import_profile([GOLDEN / "known.strace"], KNOWN)


def test_calls_are_counted_as_strace_itself_counts_them(known: Profile) -> None:
    """The table is of another run of the same program; a stop may interrupt a wait in one."""
    table = import_profile([GOLDEN / "known-c.strace"], KNOWN)
    assert "does not count calls that never return" in partial(table)
    of_table, listed = counts(table), counts(known)
    assert listed.pop("exit_group") == (TIMES + 1, 0)
    waits = listed.pop("wait4"), of_table.pop("wait4")
    assert {count - failed for count, failed in waits} == {TIMES}
    assert listed == of_table


def test_23_of_each_thing(known: Profile) -> None:
    assert known.events_lost == 0
    assert arguments(known, "socket") == {(1, 1, 0): 3 * TIMES}
    assert arguments(known, "setsockopt") == {(1, 2): TIMES}
    assert arguments(known, "mmap")[1, 1] == TIMES
    files = "/tmp/onejob-known/files"
    assert uses(known, f"{files}/sub/missing") == {"missing": TIMES}
    assert uses(known, f"{files}/absolute07") == {"created": 1, "written": 2}
    assert uses(known, f"{files}/sub/folder00/inside07")["renamed-from"] == 1
    assert uses(known, f"{files}/sub/socket") == {"bound": 1}
    assert known.number_of_processes == TIMES + 1
    assert (known.number_of_sockets, known.number_of_pipes) == (TIMES, TIMES)
    assert known.number_of_descriptors == 50  # the log's highest is 49, in pipe2


def test_its_provenance_says_what_it_is(known: Profile) -> None:
    assert known.provenance is not None
    assert known.provenance.backend == "import"
    assert known.provenance.kernel == ""
    (source,) = known.provenance.sources
    assert source.startswith("known.strace sha256:")
    assert len(source.rpartition(":")[2]) == 64
    assert "which library made a call" in partial(known)
    assert "files, accounts and packages are described as this machine has them" in partial(known)
    assert known.workload == ""
    assert [run.name for run in known.drills] == ["imported"]


def test_threads_in_a_log_whose_lines_strace_itself_tore() -> None:
    profile = import_profile([GOLDEN / "threads.strace"], KNOWN)
    assert profile.events_lost == 0
    assert counts(profile)["clone3"] == (TIMES, 0)
    (start,) = profile.starts
    assert (start.how, start.count) == ("thread", TIMES)
    assert profile.number_of_processes == 1


def test_one_file_for_each_process_by_their_common_beginning() -> None:
    profile = import_profile([GOLDEN / "crowd.strace"], KNOWN)
    assert counts(profile)["getppid"] == (3, 0)
    assert {row.program for row in profile.calls} == {KNOWN, "/usr/bin/true"}
    assert profile.provenance is not None
    assert len(profile.provenance.sources) == 4
    assert "peaks are upper bounds" in partial(profile)
    assert profile.events_lost == 0


def test_a_child_whose_file_is_missing_is_a_loss() -> None:
    first = min(GOLDEN.glob("crowd.strace.*"))
    profile = import_profile([first], KNOWN)
    assert profile.events_lost == 3
    assert "3 children whose calls are not in the log" in partial(profile)


def test_a_web_server_listens_and_changes_who_it_is() -> None:
    profile = import_profile([GOLDEN / "nginx.strace"])
    assert profile.program == "/usr/sbin/nginx"
    assert profile.events_lost == 0
    (listener,) = profile.listeners
    assert (listener.family, listener.address, listener.port) == ("inet", "127.0.0.1", 18080)
    assert (listener.backlog, listener.accepted) == (511, 2)
    assert arguments(profile, "setuid") == {(65534,): 1}
    assert 65534 in {account.uid for account in profile.accounts}
    assert (65534, 65534) in {(row.uid, row.gid) for row in profile.identities}
    assert uses(profile, "/tmp/onejob-known/www/none") == {"missing": 1}
    assert uses(profile, "/tmp/onejob-known/access.log")["appended"] == 1


PREFIXES = ["", "7 ", "[pid     7] ", "12:00:01 ", "7  12:00:01.123456 ", "7 1795552118.670078 ",
            "     0.000413 ", "12:00:01 (+     0.000277) [  12] [00007f3773cc8c47] ",
            "8702<true> "]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_way_of_beginning_a_line(prefix: str, tmp_path: Path) -> None:
    profile = of_lines(tmp_path, f'{prefix}openat(AT_FDCWD, "/etc/none", O_RDONLY) = -1 ENOENT (x)')
    assert counts(profile) == {"openat": (1, 1)}
    assert profile.calls[0].errors == (2,)
    assert uses(profile, "/etc/none") == {"missing": 1}
    assert profile.events_lost == 0


SAME = ['socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3',
        'socket(0x2, 0x80001, 0x6) = 3',
        'socket(0x2 /* AF_INET */, 0x80001 /* SOCK_STREAM|SOCK_CLOEXEC */, 0x6) = 3',
        'socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 3<TCP:[1->2]> <0.000052>',
        'socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)      = 3']  # fmt: skip


@pytest.mark.parametrize("line", SAME)
def test_every_way_of_writing_values(line: str, tmp_path: Path) -> None:
    assert arguments(of_lines(tmp_path, line), "socket") == {(2, 0x80001, 6): 1}


def test_a_call_in_two_parts_is_one_and_belongs_to_who_made_it(tmp_path: Path) -> None:
    profile = of_lines(
        tmp_path,
        '1 openat(AT_FDCWD, "/etc/one",  <unfinished ...>',
        '2 openat(AT_FDCWD</etc>, "two", O_RDONLY <unfinished ...>',
        "1 <... openat resumed>O_RDONLY) = 3",
        "2 <... openat resumed>) = -1 ENOENT (No such file or directory)",
    )
    assert counts(profile) == {"openat": (2, 1)}
    assert uses(profile, "/etc/one") == {"read": 1}
    assert uses(profile, "/etc/two") == {"missing": 1}


def test_a_call_that_never_returned_was_made(tmp_path: Path) -> None:
    lines = ["1 pause( <unfinished ...>", "2 getpid() = 2", "1 +++ killed by SIGKILL +++"]
    assert counts(of_lines(tmp_path, *lines))["pause"] == (1, 0)


def test_a_restarted_call_failed_as_a_program_would_see_it(tmp_path: Path) -> None:
    line = "1 wait4(-1, 0x7ff, 0, NULL) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
    (use,) = of_lines(tmp_path, line).calls
    assert (use.failed, use.errors) == (1, (4,))


def test_a_path_that_is_cut_short_is_named_and_not_used(tmp_path: Path) -> None:
    profile = of_lines(tmp_path, 'open("/very/lo"..., O_RDONLY) = 3')
    assert profile.file("/very/lo") is None
    assert "1 paths that are cut short (/very/lo)" in partial(profile)


def test_escapes_are_the_bytes_of_the_name(tmp_path: Path) -> None:
    profile = of_lines(tmp_path, r'open("/a\303\251\x41\"b", O_RDONLY) = -1 ENOENT (x)')
    assert uses(profile, '/aéA"b') == {"missing": 1}


def test_relative_paths_follow_chdir_descriptors_and_getcwd(tmp_path: Path) -> None:
    profile = of_lines(
        tmp_path,
        'getcwd("/srv/here", 4096) = 10',
        'open("a", O_RDONLY) = -1 ENOENT (x)',
        'chdir("sub") = 0',
        'open("b", O_RDONLY) = -1 ENOENT (x)',
        'open("/srv/dir", O_RDONLY|O_DIRECTORY) = 3',
        "dup2(3, 9) = 9",
        'openat(9, "c", O_RDONLY) = -1 ENOENT (x)',
        "fchdir(3) = 0",
        'unlink("d") = -1 ENOENT (x)',
        "close(3) = 0",
        'openat(3, "e", O_RDONLY) = -1 EBADF (x)',
    )
    for path in ("/srv/here/a", "/srv/here/sub/b", "/srv/dir/c", "/srv/dir/d"):
        assert uses(profile, path) == {"missing": 1}, path
    assert "1 relative paths whose folder is not known (e)" in partial(profile)


def test_an_exec_changes_the_program_and_closes_descriptors(tmp_path: Path) -> None:
    profile = of_lines(
        tmp_path,
        'execve("/usr/bin/env", ["env"], 0x7ff /* 3 vars */) = 0',
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3",
        'execve("/none/true", ["true"], 0x7ff /* 3 vars */) = -1 ENOENT (x)',
        'execve("/usr/bin/true", ["true"], 0x7ff /* 3 vars */) = 0',
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3",
        program="",
    )
    assert profile.program == "/usr/bin/env"
    made = {(use.program, use.call_name): use.count for use in profile.calls}
    assert made[profile.program, "execve"] == 2
    assert made["/usr/bin/true", "execve"] == 1
    assert profile.number_of_sockets == 1
    (start,) = profile.starts
    assert (start.child, start.how) == ("/usr/bin/true", "exec")


def test_a_thread_that_executes_goes_on_under_the_first_number(tmp_path: Path) -> None:
    profile = of_lines(
        tmp_path,
        "1 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, tls=0x1) = 2",
        '2 execve("/usr/bin/true", ["true"], 0x7ff /* 0 vars */ <unfinished ...>',
        "1 +++ superseded by execve in pid 2 +++",
        "1 <... execve resumed>) = 0",
        "1 getpid() = 1",
    )
    assert profile.events_lost == 0
    made = {(use.program, use.call_name) for use in profile.calls}
    assert ("/usr/bin/true", "getpid") in made


def test_a_child_may_end_before_the_call_that_made_it_returns(tmp_path: Path) -> None:
    child = ["1 fork( <unfinished ...>", "2 getpid() = 2", "2 +++ exited with 0 +++"]
    again = ["1 <... fork resumed>) = 2", "1 fork() = 2"]
    profile = of_lines(tmp_path, *child, again[0])
    assert profile.events_lost == 0
    assert [(row.how, row.count) for row in profile.starts] == [("fork", 1)]
    # The number is used anew, and this time nothing is heard of the child.
    assert of_lines(tmp_path, *child, *again).events_lost == 1


def test_lines_that_are_no_strace_are_counted_shown_and_lost(tmp_path: Path) -> None:
    profile = of_lines(
        tmp_path, "getpid() = 1", "warning: what the\x1b[31m service; says", "getpid() = ", ""
    )
    assert profile.events_lost == 2
    said = partial(profile)
    assert "lost: 2 lines that are no strace (warning: what the\\x1b[31m service, says," in said


def test_messages_signals_ends_and_stacks_are_no_calls_and_no_losses(tmp_path: Path) -> None:
    profile = of_lines(
        tmp_path,
        "strace: Process 9 attached",
        "[pid 9] --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_status=0} ---",
        "getpid() = 9",
        " > /usr/lib/x86_64-linux-gnu/libc.so.6(getpid+0x7) [0x1]",
        "--- stopped by SIGSTOP ---",
        "[pid 9] +++ exited with 0 +++",
        "strace: Process 9 detached",
    )
    assert counts(profile) == {"getpid": (1, 0)}
    assert profile.events_lost == 0


def test_unknown_calls_symbols_and_errors_are_said(tmp_path: Path) -> None:
    profile = of_lines(
        tmp_path,
        "sigreturn({mask=[]}) = 0",
        "syscall_0x1f3(0x1) = -1 ENOSYS (Function not implemented)",
        "prctl(PR_NOT_YET_INVENTED, 1) = 0",
        "getpid() = -1 ENOTYET (x)",
    )
    assert profile.events_lost == 1
    assert "1 calls that x86_64 does not have (sigreturn)" in partial(profile)
    assert counts(profile)["call_499"] == (1, 1)
    assert "arguments whose value is not known" in partial(profile)
    assert "1 errors that this machine does not know (ENOTYET)" in partial(profile)


def test_a_log_that_does_not_say_its_program_needs_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("getpid() = 1\n")
    with pytest.raises(InputError, match="does not say the path of the program") as caught:
        import_profile([path])
    assert "--program" in caught.value.hint
    with pytest.raises(InputError, match="no absolute path"):
        import_profile([path], "thing")


def test_files_that_cannot_be_imported_are_refused(tmp_path: Path) -> None:
    other, log = tmp_path / "other", tmp_path / "log"
    other.write_text("hello\n")
    log.write_text("getpid() = 1\n")
    with pytest.raises(InputError, match="no tool that is known"):
        import_profile([other])
    with pytest.raises(InputError, match="No such file"):
        import_profile([tmp_path / "none"])
    with pytest.raises(InputError, match="is no file"):
        import_profile([Path("/dev/null")])
    with pytest.raises(InputError, match="not all of strace"):
        import_profile([GOLDEN / "known.strace", GOLDEN / "known-s.perf"])
