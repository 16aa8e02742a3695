"""A profile renewed where libraries changed: new names, new needs, and what is refused."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

import small_world
from onejob.model.errors import InputError
from onejob.model.profile import FileUse, Profile, ReachableCall, Use
from onejob.profiler.describe import Describer
from onejob.profiler.renew import Renewal, renew

MAIN = "int keep(void); int main(void) { return keep(); }"
KEEP = "int keep(void) { return 1; }"
DEEP = "int deep(void) { return 2; }"
KEEP_DEEPER = "int deep(void); int keep(void) { return deep(); }"


class Host:
    """A folder with a program that needs ``lib/libkeep.so.1``, a link to its newest version."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.libraries = folder, folder / "lib"
        self.libraries.mkdir()
        self.program = folder / "keeper"
        self.library("libkeep.so.1", "1.0", KEEP)
        self.compile("keeper", MAIN, "-Llib", "-l:libkeep.so.1", "-Wl,-rpath,$ORIGIN/lib")

    def library(self, name: str, version: str, code: str, *words: str) -> Path:
        """A new version of a library; the one before goes, and the link points to it."""
        for old in self.libraries.glob(f"{name}*"):
            old.unlink()
        file = self.libraries / f"{name}.{version}"
        shared = ("-shared", "-fPIC", f"-Wl,-soname,{name}", "-Wl,-rpath,$ORIGIN")
        self.compile(f"lib/{file.name}", code, *shared, *words)
        (self.libraries / name).symlink_to(file.name)
        return file

    def compile(self, output: str, code: str, *words: str) -> None:
        argv = ["gcc", "-x", "c", "-", "-o", output, "-x", "none", *words]
        subprocess.run(argv, input=code.encode(), check=True, cwd=self.folder, timeout=60)

    def profile(self) -> Profile:
        """As the profiler describes it; its library was also seen mapped."""
        describer = Describer()
        describer.add(str(self.program), str(self.program), "start", "executed", 1)
        describer.add(str(self.libraries / "libkeep.so.1"), str(self.program), "start", "mapped", 2)
        return small_world.profile(files=describer.complete(), program=str(self.program))

    def renew(self, profile: Profile) -> Renewal:
        """What is in the folder of libraries, and outside, is the system's."""
        return renew(profile, self.system, {str(self.program)})

    def system(self, profile: Profile) -> dict[str, str]:
        kinds, own = ("file", "symlink"), str(self.program)
        return {f.path: "a library" for f in profile.files if f.kind in kinds and f.path != own}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def file_at(files: Iterable[FileUse], path: Path) -> FileUse | None:
    return next((file for file in files if file.path == str(path)), None)


def test_a_host_that_did_not_change_gives_the_same_files(host: Host) -> None:
    profile = host.profile()
    renewal = host.renew(profile)
    assert renewal.files == ()
    assert tuple(renewal.profile.files) == tuple(profile.files)


def test_a_new_version_under_another_name_takes_over_the_uses(host: Host) -> None:
    profile = host.profile()
    new = host.library("libkeep.so.1", "1.1", "int more;" + KEEP)
    renewal = host.renew(profile)
    link, old = host.libraries / "libkeep.so.1", host.libraries / "libkeep.so.1.1.0"
    assert [(Path(file.path), bool(file.profiled), bool(file.now)) for file in renewal.files] == [
        (link, True, True), (old, True, False), (new, False, True),
    ]  # fmt: skip
    renewed = file_at(renewal.profile.files, new)
    assert renewed is not None
    assert renewed.uses == (Use(program=str(host.program), drill="start", how="mapped", count=2),)
    assert file_at(renewal.profile.files, old) is None


def test_new_needs_are_followed_and_old_ones_dropped(host: Host) -> None:
    profile = host.profile()
    deep = host.library("libdeep.so.2", "0", DEEP)
    host.library("libkeep.so.1", "2.0", KEEP_DEEPER, "-Llib", "-l:libdeep.so.2")
    deeper = host.renew(profile)
    assert file_at(deeper.profile.files, deep) is not None
    host.library("libkeep.so.1", "3.0", KEEP)
    back = host.renew(deeper.profile)
    assert file_at(back.profile.files, deep) is None
    assert str(deep) in {file.path for file in back.files}


def test_a_library_that_a_new_one_needs_and_nobody_has_is_refused(host: Host) -> None:
    profile = host.profile()
    deep = host.library("libdeep.so.2", "0", DEEP)
    keep = host.library("libkeep.so.1", "2.0", KEEP_DEEPER, "-Llib", "-l:libdeep.so.2")
    for path in host.libraries.glob("libdeep*"):
        path.unlink()
    with pytest.raises(InputError, match=rf"libdeep\.so\.2 .*which {keep} needs, is not on this"):
        host.renew(profile)
    assert not deep.exists()


def test_a_library_that_the_service_needs_and_nobody_has_is_refused(host: Host) -> None:
    profile = host.profile()
    for path in host.libraries.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"libkeep\.so\.1 .*keeper needs, is not on this host"):
        host.renew(profile)


@pytest.mark.parametrize("change", ["content", "gone", "link"])
def test_a_service_that_changed_is_refused(host: Host, change: str) -> None:
    profile = host.profile()
    if change == "content":
        host.program.write_bytes(host.program.read_bytes() + b"more")
        how = "has another content"
    else:
        host.program.unlink()
        how = "is gone" if change == "gone" else "is a symlink, was a file"
    if change == "link":
        host.program.symlink_to("/bin/true")
    with pytest.raises(InputError, match=f"keeper is not what was profiled.*{how}") as error:
        host.renew(profile)
    assert "onejob profile" in error.value.hint
    assert "onejob upgrade" in error.value.hint


def test_calls_that_only_new_code_makes_are_named(host: Host) -> None:
    seed = (ReachableCall(object=str(host.program), call_name="read"),)
    profile = host.renew(host.profile().model_copy(update={"reachable_calls": seed})).profile
    assert {"read", "write"} <= {call.call_name for call in profile.reachable_calls}
    code = "int personality(unsigned long); int keep(void) { return personality(0); }"
    new = host.library("libkeep.so.1", "1.1", code)
    found = host.renew(profile).calls
    assert [(call.object, call.call_name) for call in found] == [(str(new), "personality")]
    assert host.renew(profile.model_copy(update={"reachable_calls": ()})).calls == ()
