"""The packed root: exactly the plan's entries, and the same bytes whenever and wherever."""

import os
import stat
import time
from pathlib import Path

import pytest

from built_plans import ZSTD, folder, host_file, make_plan, symlink, text_file
from onejob.base.process import run_tool
from onejob.base.progress import Quiet
from onejob.base.verity import check_root
from onejob.builder.pack import pack_tree
from onejob.builder.root import build_root
from onejob.model.errors import BuildError, LacksError, OnejobError
from onejob.model.plan import Plan, PlannedFile, RootFormat

pytestmark = pytest.mark.root

LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
CHANGED = 1_700_000_001
QUICK = RootFormat(filesystem="squashfs", compression="lz4", block_size=131072, reason="test")
FORMATS = [
    ("squashfs", "zstd", 131072),
    ("squashfs", "xz", 262144),
    ("squashfs", "xz-x86", 262144),
    ("squashfs", "gzip", 65536),
    ("squashfs", "lz4", 4096),
    ("erofs", "lz4hc", 65536),
    ("erofs", "lz4", 4096),
]


def real_library(name: str) -> list[PlannedFile]:
    """A library of this machine with the link by which programs ask for it."""
    path = LIBRARIES / name
    real = path.resolve()
    link = [symlink(str(path), os.readlink(path), origin="host")] if path.is_symlink() else []
    return [host_file(real), *link]


def true_plan(**changes: object) -> Plan:
    """A root with an entry of every kind."""
    files = (
        host_file("/usr/bin/true"),
        host_file("/etc/host.conf", text="\nadded\n"),
        host_file(
            "/usr/bin/cat",
            mode=0o4711,
            set_id="a test",
            uid=7,
            gid=70000,
            modified=CHANGED,
        ),
        text_file("/etc/passwd", "root:x:0:0::/:\n", mode=0o640, gid=42),
        text_file("/etc/empty", ""),
        symlink("/bin", "usr/bin", uid=5),
        symlink("/etc/broken", "/no/where"),
        folder("/var/log/truth", uid=33, gid=4, mode=0o2755),
        folder("/tmp", mode=0o1777),
        text_file("/etc/ld.so.cache", origin="ldconfig", text=""),
        *real_library("libc.so.6"),
        host_file(LOADER.resolve()),
        symlink("/lib", "usr/lib", origin="host"),
        symlink("/lib64", "usr/lib64", origin="host"),
        symlink("/usr/lib64/ld-linux-x86-64.so.2", os.readlink(LOADER), origin="host"),
    )
    return make_plan(**{"files": files, "root": QUICK} | changes)


def build(plan: Plan, place: Path) -> bytes:
    """The bytes of the root, built in the new folder `place`; its hash tree is checked."""
    place.mkdir(parents=True)
    verity = build_root(plan, place / "tree", place / "root.img", Quiet())
    check_root(place / "root.img", verity)
    return (place / "root.img").read_bytes()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies in the packed root of `true_plan`; read only."""
    tmp_path = tmp_path_factory.mktemp("root")
    build(true_plan(), tmp_path / "built")
    run_tool(["unsquashfs", "-d", tmp_path / "x", tmp_path / "built/root.img"], timeout=60)
    return tmp_path / "x"


def test_the_root_holds_exactly_the_plan(unpacked: Path) -> None:
    found = {"/" + str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if not p.is_dir()}
    planned = {file.path for file in true_plan().files if file.kind != "directory"}
    links = {"/bin", "/lib", "/lib64"}  # to folders
    own = {"/.onejob/instance.json", "/.onejob/filters.bpf"}
    assert found - links == planned - links | own
    assert {p.name for p in unpacked.iterdir()} == {
        ".onejob", "bin", "etc", "lib", "lib64", "proc", "run", "tmp", "usr", "var",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "mode", "uid", "gid"),
    [
        ("usr/bin/cat", 0o104711, 7, 70000),
        ("usr/bin/true", 0o100755, 0, 0),
        ("etc/passwd", 0o100640, 0, 42),
        ("bin", 0o120777, 5, 0),
        ("var/log/truth", 0o42755, 33, 4),
        ("var/log", 0o40755, 0, 0),
        ("tmp", 0o41777, 0, 0),
        (".onejob", 0o40700, 0, 0),
        (".onejob/data", 0o40700, 0, 0),
        (".onejob/filters.bpf", 0o100444, 0, 0),
        (".", 0o40755, 0, 0),
    ],
)
def test_owner_mode_and_time(unpacked: Path, path: str, mode: int, uid: int, gid: int) -> None:
    state = (unpacked / path).lstat()
    assert (oct(state.st_mode), state.st_uid, state.st_gid) == (oct(mode), uid, gid)
    assert state.st_mtime == (CHANGED if path == "usr/bin/cat" else 0)


def test_contents(unpacked: Path) -> None:
    assert (unpacked / "etc/passwd").read_text() == "root:x:0:0::/:\n"
    assert (unpacked / "usr/bin/cat").read_bytes() == Path("/usr/bin/cat").read_bytes()
    added = Path("/etc/host.conf").read_bytes() + b"\nadded\n"
    assert (unpacked / "etc/host.conf").read_bytes() == added
    assert os.readlink(unpacked / "etc/broken") == "/no/where"


def test_the_loader_finds_exactly_these_libraries(unpacked: Path) -> None:
    said = run_tool(["ldconfig", "-r", unpacked, "-p"], timeout=60)
    libraries = [line.split() for line in said.splitlines() if "=>" in line]
    assert [(words[0], words[-1]) for words in libraries] == [
        (name, f"{LIBRARIES}/{name}") for name in ("libc.so.6", "ld-linux-x86-64.so.2")
    ]
    assert not (unpacked / "var/cache").exists()


def test_a_program_runs_from_it(unpacked: Path) -> None:
    run_tool(["/usr/sbin/chroot", unpacked, "/usr/bin/true"], timeout=60)


@pytest.mark.parametrize(("filesystem", "compression", "block_size"), FORMATS)
def test_same_plan_same_bytes(
    tmp_path: Path, filesystem: str, compression: str, block_size: int
) -> None:
    form = RootFormat.model_validate(
        {
            "filesystem": filesystem, "compression": compression, "block_size": block_size,
            "reason": "test",
        }
    )  # fmt: skip
    once = build(true_plan(root=form), tmp_path / "here")
    time.sleep(1.1)  # file times and the packers' clock count in seconds
    again = build(true_plan(root=form), tmp_path / "else/where/with/a/longer/name")
    assert once == again
    assert len(once) % 4096 == 0


@pytest.mark.parametrize("filesystem", ["squashfs", "erofs"])
def test_the_order_in_which_a_folder_was_filled_is_of_no_account(
    tmp_path: Path, filesystem: str
) -> None:
    names = [f"{number:02}" for number in range(40)]
    images = []
    for turn, order in (("one", names), ("other", names[::-1])):
        for name in order:
            (tmp_path / turn / f"d{name}").mkdir(parents=True)
            (tmp_path / turn / f"d{name}/file").write_text(name * 999)
            (tmp_path / turn / name).write_text(name * 5000)
        compression = "zstd" if filesystem == "squashfs" else "lz4hc"
        form = RootFormat.model_validate(
            {
                "filesystem": filesystem, "compression": compression, "block_size": 65536,
                "reason": "test",
            }
        )  # fmt: skip
        pack_tree(tmp_path / turn, tmp_path / f"{turn}.img", form)
        images.append((tmp_path / f"{turn}.img").read_bytes())
    assert images[0] == images[1]


def test_the_users_environment_is_of_no_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = build(true_plan(), tmp_path / "one")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    try:
        assert build(true_plan(), tmp_path / "other") == once
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"compression": "brotli"}, "root as squashfs with 'brotli'"),
        ({"filesystem": "erofs"}, "root as erofs with 'zstd'"),
        ({"block_size": 5000}, "root block size 5000"),
        ({"block_size": 2**21}, "root block size 2097152"),
        ({"block_size": 0}, "root block size 0"),
    ],
)
def test_a_format_that_cannot_be_packed_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(BuildError, match=complaint):
        build(true_plan(root=ZSTD.model_copy(update=changes)), tmp_path / "x")


def refusal(tmp_path: Path, *files: PlannedFile) -> OnejobError:
    """The error that a plan of `files` gives; nothing was packed."""
    with pytest.raises(OnejobError) as caught:
        build(make_plan(files=files), tmp_path / "x")
    assert not (tmp_path / "x/root.img").exists()
    return caught.value


def test_a_root_larger_than_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, host_file("/usr/bin/true", size=2**62))
    assert isinstance(error, LacksError)
    assert "4398046511104 MiB" in error.what


def test_a_native_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path, text_file("/init", origin="native", native="onejob-nonesuch"))
    assert "onejob-nonesuch is not built" in error.what


def test_a_planned_hash_of_text_counts(tmp_path: Path) -> None:
    error = refusal(tmp_path, text_file("/etc/x", sha256="0" * 64))
    assert error.what == "/etc/x: not the content that was planned"


def test_setuid_only_where_planned(tmp_path: Path) -> None:
    source = tmp_path / "setuid"
    source.write_bytes(b"x")
    source.chmod(0o4755)
    plan = make_plan(files=(host_file(source, mode=0o755),))
    build(plan, tmp_path / "x")
    mode = (tmp_path / "x/tree" / str(source)[1:]).stat().st_mode
    assert stat.S_IMODE(mode) == 0o755


def test_a_setuid_file_is_refused_unless_the_plan_says_why(tmp_path: Path) -> None:
    source = tmp_path / "setuid"
    source.write_bytes(b"x")
    file = host_file(source, mode=0o4755)
    error = refusal(tmp_path, file)
    assert "has the rights of its owner (mode 4755), and the plan does not say why" in error.what
    build(make_plan(files=(file.model_copy(update={"set_id": "it must"}),)), tmp_path / "y")
    mode = (tmp_path / "y/tree" / str(source)[1:]).stat().st_mode
    assert stat.S_IMODE(mode) == 0o4755
