"""A library is updated, a service is updated: what `onejob build` makes of one old profile."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from private_host import PrivateHost, private_host

PORT = 8094
PROGRAM = "/usr/bin/keeping"
FOLDER = "/usr/lib/x86_64-linux-gnu"
LINK = f"{FOLDER}/libkeeptext.so.1"
OLD, NEW = f"{LINK}.0", f"{LINK}.1"
DEEP = f"{FOLDER}/libdeeptext.so.7"
SOURCE = Path(__file__).with_name("keeping_service.c")
WORKLOAD = f"""
name = "keeping"
command = ["keeping", "{PORT}"]
packages = ["curl"]
ports = [{PORT}]
ready = {{ http = "http://{{address:{PORT}}}/" }}
stop = {{ signal = "TERM" }}

[[drill]]
name = "serve"
run = {{ command = ["curl", "-s", "http://{{address:{PORT}}}/"], prints = "kept" }}
"""
PLAIN = 'const char *keep_text(void) { return "kept"; }'
DEEPER = "const char *deep_text(void); const char *keep_text(void) { return deep_text(); }"
DEEP_TEXT = 'const char *deep_text(void) { return "kept"; }'
# A call that no drill of the old library made.
CURIOUS = """
#include <sys/utsname.h>
const char *keep_text(void) { static struct utsname name; uname(&name); return "kept"; }
"""

pytestmark = [pytest.mark.root, pytest.mark.ebpf, pytest.mark.runc]


class Keeping:
    """The service on its own host, with its profile."""

    def __init__(self, host: PrivateHost, folder: Path) -> None:
        self.host, self.folder, self.profile = host, folder, folder / "keeping.profile.xml"
        self.image = folder / "keeping.onejob"
        self.library(OLD, PLAIN, "1.0-1")
        self.host.compile(PROGRAM, SOURCE.read_text(), LINK)
        self.host.package("keeping", "5.1-1", PROGRAM)
        (folder / "workload.toml").write_text(WORKLOAD)
        done = host.onejob("profile", "--workload", folder / "workload.toml", "-o", self.profile)
        assert done.returncode == 0, done.stderr

    def library(self, path: str, code: str, version: str, *words: str) -> None:
        """libkeeptext1 in another version: its file has another name."""
        self.host.run("rm", "-f", OLD, NEW)
        self.host.compile(path, code, "-shared", "-fPIC", "-Wl,-soname,libkeeptext.so.1", *words)
        self.host.must("ln", "-sfn", path, LINK)
        self.host.package("libkeeptext1", version, LINK, path)

    def build(self, *words: str) -> tuple[int, str]:
        """Status, and what was said."""
        argv = ("build", self.profile, "--without-kernel", "-o", self.image, *words)
        done = self.host.onejob(*argv)
        return done.returncode, " ".join(done.stderr.split())

    def rehearse(self) -> tuple[int, str]:
        done = self.host.onejob("rehearse", self.image)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    """Profiled once; each test gives the host the libraries that it wants."""
    folder = tmp_path_factory.mktemp("keeping")
    with private_host(folder / "scratch") as host:
        yield Keeping(host, folder)


@pytest.fixture
def keeping(profiled: Keeping) -> Keeping:
    """With the library and the program that were profiled."""
    profiled.library(OLD, PLAIN, "1.0-1")
    return profiled


def test_a_newer_library_is_taken_only_when_asked_for_and_is_listed(keeping: Keeping) -> None:
    keeping.host.compile(DEEP, DEEP_TEXT, "-shared", "-fPIC", "-Wl,-soname,libdeeptext.so.7")
    keeping.host.package("libdeeptext7", "7", DEEP)
    keeping.library(NEW, DEEPER, "1.1-1", DEEP)
    status, said = keeping.build()
    assert status == 7, said
    assert "changed since it was profiled" in said
    status, said = keeping.build("--newer-system")
    assert status == 0, said
    assert f"newer than the profile: {DEEP}: not in the profile, now libdeeptext7 7" in said
    manifest = json.loads((keeping.image / "manifest.json").read_text())
    renewed = {row["path"]: row for row in manifest["renewed"]}
    assert set(renewed) == {LINK, OLD, NEW, DEEP}
    assert renewed[LINK]["now"] == f"libkeeptext1 1.1-1 -> {NEW}"
    assert renewed[OLD]["now"] == ""
    assert renewed[DEEP]["reason"] == f"library of libdeeptext7, needed by {NEW}"
    status, said = keeping.rehearse()
    assert status == 0, said


def test_a_call_that_only_new_code_makes_is_said_and_found_by_the_rehearsal(
    keeping: Keeping,
) -> None:
    keeping.library(NEW, CURIOUS, "1.2-1")
    status, said = keeping.build("--newer-system")
    assert status == 0, said
    assert f"new code of {NEW} can call uname" in said
    status, said = keeping.rehearse()
    assert status == 6, said
    assert "uname" in said


def test_a_newer_service_is_refused_with_both_versions(keeping: Keeping) -> None:
    keeping.host.must("cp", "-p", PROGRAM, f"{PROGRAM}.old")
    keeping.host.compile(PROGRAM, SOURCE.read_text() + "int more = 1;", LINK)
    keeping.host.package("keeping", "5.2-1", PROGRAM)
    try:
        status, said = keeping.build("--newer-system")
    finally:
        keeping.host.must("mv", f"{PROGRAM}.old", PROGRAM)
        keeping.host.package("keeping", "5.1-1", PROGRAM)
    assert status == 4, said
    assert "the service keeping is not what was profiled: keeping 5.1-1 -> 5.2-1" in said
    assert "onejob profile --workload" in said
    assert "onejob upgrade DISK" in said
