"""From the probe's rows to the profile: ways of use, paths and links, hostile recordings."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onejob.model.errors import InputError
from onejob.model.profile import FileUse, How
from onejob.model.syscalls import call_number
from onejob.model.workload import Workload
from onejob.profiler.assemble import assemble
from onejob.profiler.describe import Describer, describe_recording, follow
from onejob.profiler.elf import read_needs
from onejob.profiler.recording import FileSeen, Role, normal_path, read_recording, ways_of
from onejob.profiler.sandbox import MountPoint, read_mounts
from onejob.profiler.subject import Subject

RD, WR, RDWR = os.O_RDONLY, os.O_WRONLY, os.O_RDWR


def seen(call: str, role: Role = "path", **more: Any) -> FileSeen:
    number = call_number(call)
    assert number is not None
    return FileSeen(program=0, drill=0, nr=number, role=role, path="/x", count=1, **more)


@pytest.mark.parametrize(
    ("row", "ways"),
    [
        (seen("openat", flags=RD), ("read",)),
        (seen("openat", flags=WR), ("written",)),
        (seen("openat", flags=RDWR), ("read", "written")),
        (seen("openat", flags=WR | os.O_APPEND), ("appended",)),
        (seen("open", flags=WR | os.O_CREAT, created=True), ("created", "written")),
        (seen("open", flags=WR | os.O_CREAT, created=False), ("written",)),
        (seen("creat", created=True), ("created", "written")),
        (seen("openat2", flags=RD | os.O_DIRECTORY), ("listed",)),
        (seen("openat", flags=os.O_PATH), ("looked-up",)),
        (seen("openat", flags=RD, error=errno.ENOENT), ("missing",)),
        (seen("openat", flags=RD, error=errno.ENOTDIR), ("missing",)),
        (seen("openat", flags=RD, error=errno.EACCES), ()),
        (seen("rename", "from"), ("renamed-from",)),
        (seen("renameat2", "to"), ("renamed-to",)),
        (seen("rename", "to", error=errno.ENOENT), ()),
        (seen("rename", "from", error=errno.ENOENT), ("missing",)),
        (seen("link", "from"), ("linked",)),
        (seen("linkat", "to"), ("created",)),
        (seen("symlink"), ("created",)),
        (seen("mkdir"), ("created",)),
        (seen("mknodat"), ("created",)),
        (seen("unlink"), ("removed",)),
        (seen("rmdir"), ("removed",)),
        (seen("chown"), ("changed",)),
        (seen("fchmodat2"), ("changed",)),
        (seen("utimensat"), ("changed",)),
        (seen("truncate"), ("changed",)),
        (seen("execve", "exec"), ("executed",)),
        (seen("mmap", "map"), ("mapped",)),
        (seen("bind", "bind"), ("bound",)),
        (seen("connect", "connect"), ("connected",)),
        (seen("connect", "connect", error=errno.ENOENT), ("missing",)),
        (seen("newfstatat"), ("looked-up",)),
        (seen("readlink"), ("looked-up",)),
        (seen("inotify_add_watch"), ("looked-up",)),
    ],
    ids=lambda value: value.call if isinstance(value, FileSeen) else "",
)
def test_ways_of_use(row: FileSeen, ways: tuple[How, ...]) -> None:
    assert ways_of(row) == ways


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/a//b/./c/", "/a/b/c"),
        ("/", "/"),
        ("//", "/"),
        ("/a/link/../b", "/a/link/../b"),
        (".", "/"),
    ],
)
def test_normal_path(path: str, normal: str) -> None:
    assert normal_path(path) == normal


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """Folders with links of every kind; the path of it is canonical."""
    root = tmp_path.resolve()
    (root / "real/deep").mkdir(parents=True)
    (root / "real/file").write_text("x")
    (root / "real/deep/file").write_text("y")
    links = {
        "absolute": f"{root}/real", "relative": "real/deep", "chain": "absolute",
        "up": "real/../real",
        "loop": "pool", "pool": "loop", "dangling": "nowhere/at/all", "self": "self",
        "top": "../" * 30 + f"{root}/real".lstrip("/"), "real/file-link": "file",
    }  # fmt: skip
    for name, target in links.items():
        (root / name).symlink_to(target)
    return str(root)


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("/real/file", ["/real/file"]),
        ("/absolute/file", ["/absolute", "/real/file"]),
        ("/relative/file", ["/relative", "/real/deep/file"]),
        ("/chain/file", ["/chain", "/absolute", "/real/file"]),
        ("/relative/../file", ["/relative", "/real/file"]),  # as the kernel goes, not /file
        ("/up/deep/./file", ["/up", "/real/deep/file"]),
        ("/top/file", ["/top", "/real/file"]),
        ("/dangling/x", ["/dangling", "/nowhere/at/all/x"]),
        ("/nothing/here", ["/nothing/here"]),
        ("/loop/file", ["/loop", "/pool"]),
        ("/self", ["/self"]),
        ("/real/file-link", ["/real/file-link", "/real/file"]),
    ],
)
def test_links_are_followed_as_the_kernel_does(tree: str, path: str, steps: list[str]) -> None:
    assert follow(tree + path) == [tree + step for step in steps]
    if os.path.exists(tree + path):
        assert follow(tree + path)[-1] == os.path.realpath(tree + path)


def test_the_way_up_ends_at_the_root() -> None:
    assert follow("/..") == ["/"]
    assert follow("/../../etc/../etc/./hostname") == ["/etc/hostname"]


def describe(path: str, *hows: How) -> dict[str, FileUse]:
    describer = Describer()
    for how in hows:
        describer.add(path, "/bin/p", "serve", how, 1)
    return {file.path: file for file in describer.complete()}


def test_uses_are_booked_where_the_path_ends(tree: str) -> None:
    found = describe(f"{tree}/chain/file", "read")
    assert [use.how for use in found[f"{tree}/real/file"].uses] == ["read"]
    assert [use.how for use in found[f"{tree}/chain"].uses] == ["looked-up"]
    assert (found[f"{tree}/chain"].kind, found[f"{tree}/chain"].target) == ("symlink", "absolute")
    assert found[f"{tree}/real/file"].size == 1
    assert found[tree].kind == "directory"


@pytest.mark.parametrize("how", ["removed", "renamed-from", "renamed-to", "linked"])
def test_what_is_done_to_a_link_is_not_done_to_what_it_points_to(tree: str, how: How) -> None:
    found = describe(f"{tree}/chain/file-link", how)
    assert [use.how for use in found[f"{tree}/real/file-link"].uses] == [how]
    assert f"{tree}/real/file" not in found


def test_missing_and_created_paths(tree: str) -> None:
    found = describe(f"{tree}/new/file", "created", "written")
    assert (found[f"{tree}/new/file"].kind, found[f"{tree}/new/file"].existed) == ("missing", False)
    assert f"{tree}/new" in found  # its folder is needed
    assert f"{tree}/gone" not in describe(f"{tree}/gone/file", "missing")


def test_an_executable_brings_its_interpreter_and_libraries() -> None:
    needs = read_needs(Path("/bin/sh").resolve())
    assert needs is not None
    assert Path(needs.interpreter).exists()
    found = describe("/bin/sh", "executed")
    libraries = [path for path in found if "libc.so" in path]
    assert any(found[path].sha256 for path in libraries)
    assert all(found[path].origin == "static" for path in libraries)


def test_an_executable_without_sections_has_the_same_needs(tmp_path: Path) -> None:
    data = bytearray(Path("/bin/sh").read_bytes())
    data[0x28:0x30] = bytes(8)  # e_shoff
    data[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
    path = tmp_path / "sh"
    path.write_bytes(data)
    assert read_needs(path) == read_needs(Path("/bin/sh").resolve())


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF" + b"\xff" * 200, b"#!/bin/sh\n"])
def test_what_is_no_elf_file_needs_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert read_needs(tmp_path / "x") is None


def test_truncated_executables_do_not_stop_a_profile(tmp_path: Path) -> None:
    data = Path("/bin/sh").read_bytes()[:6000]
    for end in range(4, len(data), 97):
        (tmp_path / "x").write_bytes(data[:end])
        read_needs(tmp_path / "x")


# --- mountinfo -----------------------------------------------------------------------------------


def test_mountinfo_escapes_and_optional_fields() -> None:
    text = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        r"30 22 0:5 / /a\040b\011c\134d rw - tmpfs none rw" "\n"
        "31 22 0:6 /x /é/ü rw shared:2 master:1 propagate_from:3 - overlay - rw\n"
    )  # fmt: skip
    assert read_mounts(text) == [
        MountPoint("/", "ext4"), MountPoint("/a b\tc\\d", "tmpfs"), MountPoint("/é/ü", "overlay"),
    ]  # fmt: skip


# --- recordings ----------------------------------------------------------------------------------


def recording() -> dict[str, Any]:
    """As the contract of the probe gives it."""
    place = {"program": 0, "drill": 0}
    return {
        "format": 2, "backend": "ebpf", "drills": ["start", "serve"], "lost": {"events": 0},
        "programs": [{"id": 0, "path": "/bin/p"}],
        "calls": [
            {**place, "nr": 0, "count": 12, "errors": {"11": 3, "4": 1}},
            {**place, "drill": 1, "nr": 1, "count": 5},
        ],
        "facts": [{**place, "nr": 117, "args": [33, 2**64 - 1, 2**32 - 1], "count": 1}],
        "files": [
            {**place, "nr": 257, "role": "path", "path": "/etc/passwd", "error": 0,
             "flags": 524288, "created": False, "count": 1},
        ],
        "peaks": {"processes": 3, "threads": 4, "sockets": 7, "descriptors": 19, "pipes": 1},
    }  # fmt: skip


WORKLOAD = Workload.model_validate(
    {"name": "p", "command": ("p",), "ready": {"log": "x"}, "include": ("/etc/hostname",)}
)


SUBJECT = Subject.of_workload(WORKLOAD, "text", "/bin/sh")


def write(folder: Path, value: object) -> Path:
    path = folder / "recording.json"
    path.write_text(json.dumps(value))
    return path


def test_a_recording_becomes_a_profile(tmp_path: Path) -> None:
    made = assemble(SUBJECT, read_recording(write(tmp_path, recording())), ())
    assert [(c.call_name, c.phase, c.count, c.failed, c.errors) for c in made.calls] == [
        ("read", "boot", 12, 4, (4, 11)), ("write", "serve", 5, 0, ()),
    ]  # fmt: skip
    assert made.arguments[0].values == (33, -1, 2**32 - 1)
    assert [run.new_calls for run in made.drills] == [1, 1]
    assert (made.number_of_processes, made.number_of_descriptors) == (3, 19)
    assert {account.uid for account in made.accounts} >= {0, 33}
    host = made.file("/etc/hostname")
    assert host is not None
    assert host.origin == "user"


def test_events_lost_are_all_counted(tmp_path: Path) -> None:
    value = recording() | {"lost": {"events": 2, "paths_truncated": 3}}
    seen = read_recording(write(tmp_path, value))
    assert assemble(SUBJECT, seen, ()).events_lost == 5


Spoil = Callable[[dict[str, Any]], object]
MALFORMED: dict[str, Spoil] = {
    "other format": lambda r: r | {"format": 1},
    "other backend": lambda r: r | {"backend": "guess"},
    "unknown key": lambda r: r | {"extra": 1},
    "no peaks": lambda r: {key: value for key, value in r.items() if key != "peaks"},
    "negative lost": lambda r: r | {"lost": {"events": -1}},
    "negative count": lambda r: r["calls"][0].update(count=-1),
    "huge count": lambda r: r["calls"][0].update(count=2**63),
    "unknown program": lambda r: r["calls"][0].update(program=7),
    "unknown program of a file": lambda r: r["files"][0].update(program=1),
    "unknown drill": lambda r: r["facts"][0].update(drill=2),
    "errno in words": lambda r: r["calls"][0].update(errors={"EAGAIN": 1}),
    "negative errors": lambda r: r["calls"][0].update(errors={"11": -5}),
    "argument too large": lambda r: r["facts"][0].update(args=[2**64]),
    "negative argument": lambda r: r["facts"][0].update(args=[-1]),
    "unknown role": lambda r: r["files"][0].update(role="read"),
    "path as number": lambda r: r["files"][0].update(path=5),
    "list": lambda r: [r],
    "number": lambda r: 10**400,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_recording_is_refused(name: str, tmp_path: Path) -> None:
    value = recording()
    spoilt = MALFORMED[name](value)
    path = write(tmp_path, value if spoilt is None else spoilt)
    with pytest.raises(InputError, match=r"^recording .*recording\.json: "):
        read_recording(path)


def test_a_truncated_recording_is_refused(tmp_path: Path) -> None:
    text = json.dumps(recording())
    for end in range(0, len(text), 20):
        (tmp_path / "r.json").write_text(text[:end])
        with pytest.raises(InputError):
            read_recording(tmp_path / "r.json")


def test_includes_with_everything_below(tree: str, tmp_path: Path) -> None:
    empty = recording() | {"calls": [], "facts": [], "files": []}
    found = {f.path for f in describe_recording(read_recording(write(tmp_path, empty)), [tree])}
    assert {f"{tree}/{name}" for name in ("real/deep/file", "loop", "pool", "chain")} <= found


def test_only_what_nobody_writes_has_a_time(tmp_path: Path) -> None:
    page, log, folder = tmp_path / "page", tmp_path / "log", tmp_path / "folder"
    folder.mkdir()
    for path in (page, log):
        path.write_text("text")
    for path in (page, log, folder):
        os.utime(path, (2, 1_700_000_001.7))
    found = Describer()
    uses: tuple[tuple[Path, How], ...] = ((page, "read"), (log, "written"), (folder, "listed"))
    for path, how in uses:
        found.add(str(path), "/bin/p", "serve", how, 1)
    times = {file.path: file.modified for file in found.complete()}
    assert [times[str(path)] for path in (page, log, folder)] == [1_700_000_001, 0, 0]


def test_a_time_that_no_root_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="modified"):
        FileUse(path="/x", kind="file", modified=2**32)
