"""A plan may come from anywhere: what it asks for stays inside the root, or is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from built_plans import folder, host_file, make_plan, symlink, text_file
from onejob.builder.entries import complete_entries, parents
from onejob.model.errors import BuildError
from onejob.model.plan import Mount, PlannedFile


def paths_of(*files: PlannedFile, mounts: tuple[Mount, ...] = ()) -> list[str]:
    """The paths of the completed entries."""
    return [entry.path for entry in complete_entries(make_plan(files=files, mounts=mounts))]


def test_parents_and_mountpoints_are_added_parents_first() -> None:
    mounts = (Mount(path="/var/log/truth", kind="data", reason="written"),)
    assert paths_of(text_file("/etc/a/b"), text_file("/etc/a.b"), mounts=mounts) == [
        "/", "/.onejob", "/.onejob/data", "/etc", "/etc/a", "/etc/a/b", "/etc/a.b",
        "/var", "/var/log", "/var/log/truth",
    ]  # fmt: skip


def test_what_the_plan_says_of_a_folder_counts() -> None:
    entries = complete_entries(make_plan(files=(folder("/var/log/truth", uid=33, mode=0o750),)))
    (seed,) = (entry for entry in entries if entry.path == "/var/log/truth")
    assert (seed.uid, seed.mode) == (33, 0o750)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ([text_file("/etc/../../etc/shadow")], "is not a plain absolute path"),
        ([text_file("/etc/./x")], "is not a plain absolute path"),
        ([text_file("//etc/x")], "is not a plain absolute path"),
        ([text_file("/etc/x/")], "is not a plain absolute path"),
        ([text_file("/" + "n" * 256)], "name of more than 255 bytes"),
        ([text_file("/ää" * 1000)], "more than 4095 bytes"),
        ([text_file("/a"), text_file("/a")], "is planned twice"),
        ([symlink("/a", "/etc"), text_file("/a/x")], "lies below /a, which is a symlink"),
        ([symlink("/a", "/etc"), text_file("/a/b/c/x")], "lies below /a, which is a symlink"),
        ([text_file("/a"), folder("/a/b")], "lies below /a, which is a file"),
        ([text_file("/")], "is a file, must be a directory"),
        ([symlink("/", "/tmp")], "is a symlink, must be a directory"),
        ([symlink("/a", "")], "without a usable target"),
        ([symlink("/a", "x\0y")], "without a usable target"),
        ([symlink("/a", "x" * 4096)], "without a usable target"),
        ([symlink("/.onejob", "/tmp")], "lies below /.onejob, which is a symlink"),
        ([text_file("/.onejob/filters.bpf")], "is written by the builder"),
        ([text_file("/.onejob/instance.json")], "is written by the builder"),
        ([text_file("/a", origin="none")], "is a file without an origin"),
        ([text_file("/a", origin="native", native="../../etc/shadow")], "names no native part"),
        ([text_file("/a", origin="native")], "names no native part"),
        ([host_file("/usr/bin/true", sha256="")], "without the sha256"),
        ([symlink("/var", "/tmp")], "lies below /var, which is a symlink"),
        ([symlink("/run", "/tmp")], "is a mountpoint, planned as a symlink"),
        ([text_file("/run")], "is a mountpoint, planned as a file"),
    ],
)
def test_a_hostile_plan_is_refused(files: list[PlannedFile], complaint: str) -> None:
    with pytest.raises(BuildError, match=complaint):
        complete_entries(make_plan(files=tuple(files)))


def test_a_hostile_mount_is_refused() -> None:
    mounts = (Mount(path="/run/../../etc", kind="tmpfs", reason="hostile"),)
    with pytest.raises(BuildError, match="is not a plain absolute path"):
        complete_entries(make_plan(mounts=mounts))


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(st.sets(st.lists(st.one_of(names, st.sampled_from(["..", "."])), min_size=1).map("/".join)))
def test_whatever_passes_stays_inside(paths: set[str]) -> None:
    plan = make_plan(files=tuple(text_file(f"/{path}") for path in sorted(paths)), mounts=())
    try:
        entries = complete_entries(plan)
    except BuildError:
        return
    seen: set[str] = set()
    for entry in entries:
        assert not {"..", "."} & set(entry.path.split("/"))
        assert set(parents(entry.path)) <= seen
        seen.add(entry.path)
