"""What the user names becomes processes: states of runc, names of cgroups; files read by hand."""

import json
import os
import struct
import subprocess
from pathlib import Path

import pytest

from onejob.base.accounts import account_rows, group_rows
from onejob.model.errors import InputError
from onejob.profiler.cgroups import oldest
from onejob.profiler.describe import hash_file
from onejob.profiler.elf import read_loader_cache
from onejob.profiler.packages import stanzas
from onejob.profiler.running import Running, container_in, of_runc, service_name

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"libpod-{ID}.scope", ID), (f"docker-{ID}.scope", ID), (ID, ID),
        (f"cri-containerd-{ID}.scope", ID), (f"libpod-conmon-{ID}.scope", ""),
        (ID[:-1], ""), ("nginx.service", ""), (f"x{ID}", ""),
    ],
)  # fmt: skip
def test_containers_are_known_by_the_names_of_their_cgroups(name: str, found: str) -> None:
    assert container_in(name) == found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nginx", "nginx"),
        ("Postgres: Main", "postgres-main"),
        ("@@", "service"),
        ("x" * 99, "x" * 63),
    ],
)
def test_a_service_gets_a_name_that_a_workload_may_have(text: str, name: str) -> None:
    assert service_name(text) == name


def test_the_main_process_is_the_first_without_a_parent_among_them() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert oldest({child.pid, os.getpid()}) == os.getpid()
        assert oldest({child.pid}) == child.pid
    finally:
        child.kill()
        child.wait()


def test_the_state_that_runc_keeps_names_the_main_process(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"init_process_pid": os.getpid(), "id": "x", "cgroup_paths": {}}))
    assert of_runc(state, "web") == Running("web", os.getpid())


@pytest.mark.parametrize("text", ["", "{}", '{"init_process_pid": -1}', '{"init_process_pid": ""}'])
def test_a_state_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(InputError, match="not as runc writes it"):
        of_runc(tmp_path / "state.json", "web")


# --- what is read by hand, because a container's own tools are not to be run ---------------------


def test_lines_that_are_no_accounts_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    path.write_bytes(b"a:x:1:2:g:/home:/sh\nbroken\nb:x:one:2:::\n\xff:x:3:4:::\n+::::::\n")
    assert [(row.pw_name, row.pw_uid, row.pw_dir) for row in account_rows(path)] == [
        ("a", 1, "/home"), ("\ufffd", 3, ""),
    ]  # fmt: skip
    path.write_text("g:x:7:a,b\nh:x:8:\nbad:x\n")
    assert [(row.gr_name, row.gr_gid, row.gr_mem) for row in group_rows(path)] == [
        ("g", 7, ["a", "b"]), ("h", 8, []),
    ]  # fmt: skip
    assert account_rows(tmp_path / "none") == []


def test_the_loaders_cache_is_read_as_ldconfig_reads_it(tmp_path: Path) -> None:
    strings = b"libc.so.6\0/lib/libc.so.6\0lib32.so\0/lib32/lib32.so\0"
    head = struct.pack("<20sII20x", b"glibc-ld.so.cache1.1", 2, len(strings))
    start = 48 + 2 * 24
    rows = [(0x0303, 0, 10), (0x0003, 25, 34)]
    entries = b"".join(struct.pack("<iII12x", f, start + n, start + p) for f, n, p in rows)
    path = tmp_path / "ld.so.cache"
    path.write_bytes(head + entries + strings)
    assert read_loader_cache(path) == {"libc.so.6": "/lib/libc.so.6"}


@pytest.mark.parametrize("size", [0, 20, 47, 60, 100])
def test_a_broken_loaders_cache_is_none(tmp_path: Path, size: int) -> None:
    path = tmp_path / "ld.so.cache"
    path.write_bytes(Path("/etc/ld.so.cache").read_bytes()[:size])
    assert read_loader_cache(path) == {}


def test_dpkgs_database_is_read_by_stanzas(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text("Package: a\nDescription: b\n more: x\nVersion: 1:2\n\nPackage: c\n")
    assert list(stanzas(path)) == [
        {"Package": "a", "Description": "b", "Version": "1:2"}, {"Package": "c"},
    ]  # fmt: skip
    assert list(stanzas(tmp_path / "none")) == []


def test_a_pipe_in_the_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert account_rows(path) == []
    assert read_loader_cache(path) == {}
    assert list(stanzas(path)) == []
    assert hash_file(path) == ""
