"""Files written whole or not at all, commands ended as groups, kernel calls, verity."""

import errno
import hashlib
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from onejob.base import linux
from onejob.base.files import write_atomically
from onejob.base.natives import data_path, native_path
from onejob.base.process import end_group, find_tool, run_tool, start_group
from onejob.base.verity import check_root, kernel_argument, level_blocks
from onejob.model.errors import BuildError, InputError, LacksError
from onejob.model.image import Verity


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert os.listdir(tmp_path) == ["f"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", b"new")
    assert os.readlink(tmp_path / "link") == "target"
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_device_or_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    """-o /dev/stdout, run by root, would otherwise make a plain file of it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as reader:
        write_atomically(path, b"through")
        assert reader.communicate(timeout=20)[0] == b"through"
    assert path.is_fifo()


@pytest.mark.parametrize("name", ["none/f", ".", "file/f"])
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(LacksError, match=r"cannot write /.*: [A-Z]"):
        write_atomically(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.root
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    linux.mount("onejob", tmp_path, "tmpfs", 0, "size=64k")
    try:
        write_atomically(tmp_path / "f", b"old")
        with pytest.raises(LacksError, match="No space left") as caught:
            write_atomically(tmp_path / "f", b"x" * 200_000)
        assert "make room" in caught.value.hint
        assert (tmp_path / "f").read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["f"]
    finally:
        linux.unmount(tmp_path)


# --- processes -----------------------------------------------------------------------------------


def test_the_output_of_a_tool() -> None:
    words = [sys.executable, "-c", "print(input())"]
    assert run_tool(words, timeout=30, text_input="hello") == "hello\n"
    words = [sys.executable, "-c", "import os; print(sorted(os.environ)[:1], os.getcwd())"]
    assert run_tool(words, timeout=30, environment={"A": ""}, directory=Path("/")) == "['A'] /\n"


def test_the_last_words_of_a_tool_that_fails() -> None:
    with pytest.raises(BuildError, match=r"^sh failed \(7\): 5\n6\n7\n8\n9\n10$"):
        run_tool(["sh", "-c", "seq 10 >&2; exit 7"], timeout=30)
    with pytest.raises(BuildError, match="it printed nothing"):
        run_tool(["false"], timeout=30)


def test_a_tool_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(BuildError, match=r"sh took longer than 0\.5 s"):
        run_tool(["sh", "-c", f"sleep 100 & echo $! > {tmp_path}/pid; wait"], timeout=0.5)
    assert time.monotonic() - begun < 20
    pid = int((tmp_path / "pid").read_text())
    while _alive(pid):  # one that was killed needs the processor to die
        assert time.monotonic() - begun < 20
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_group_is_ended_gently_first(tmp_path: Path) -> None:
    script = f"trap 'echo bye > {tmp_path}/said; exit 3' TERM; echo; while :; do sleep 0.05; done"
    with start_group(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end_group(process, grace=20)
        assert process.returncode == 3
    assert (tmp_path / "said").read_text() == "bye\n"


def test_an_interrupt_inside_poll_does_not_make_the_end_hang() -> None:
    """Popen.poll takes its lock before its `try`; interrupted there, it keeps it."""
    with start_group(["sleep", "100"]) as process:
        process._waitpid_lock.acquire()  # type: ignore[attr-defined]
        end_group(process, grace=0.1)
    assert process.returncode == -15


def test_a_tool_that_is_not_there_is_offered() -> None:
    with pytest.raises(LacksError, match="no-such-tool is not installed") as caught:
        find_tool("no-such-tool", "its-package")
    assert caught.value.hint == "apt-get install its-package"


def test_native_parts_and_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onejob-x").write_text("")
    monkeypatch.setenv("ONEJOB_NATIVE_DIR", str(tmp_path))
    assert native_path("onejob-x") == tmp_path / "onejob-x"
    with pytest.raises(LacksError, match="onejob-y is not built") as caught:
        native_path("onejob-y")
    assert "make install" in caught.value.hint
    assert (data_path("services") / "nginx/workload.toml").is_file()
    with pytest.raises(LacksError, match="nothing is missing"):
        data_path("nothing")


# --- kernel calls --------------------------------------------------------------------------------


def test_paths_stay_below_their_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("inside")
    (tmp_path / "absolute").symlink_to("/etc/hostname")
    (tmp_path / "up").symlink_to("../../../../etc/hostname")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        for path in ("/etc/hostname", "absolute", "/up", "/../../etc/hostname"):
            with os.fdopen(linux.open_in_root(root, path, os.O_RDONLY)) as file:
                assert file.read() == "inside"
        with pytest.raises(OSError, match="No such file") as caught:
            linux.open_in_root(root, "/etc/passwd", os.O_RDONLY)
        assert caught.value.errno == errno.ENOENT
    finally:
        os.close(root)


@pytest.mark.root
def test_work_in_another_network_leaves_this_thread_where_it_is() -> None:
    own = os.readlink("/proc/thread-self/ns/net")
    with start_group(["unshare", "--net", "sh", "-c", "echo; sleep 100"], stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        there = Path(f"/proc/{process.pid}/ns/net")
        seen = linux.in_network(there, lambda: os.readlink("/proc/thread-self/ns/net"))
        assert seen == os.readlink(there) != own
        with pytest.raises(ZeroDivisionError):
            linux.in_network(there, lambda: 1 // 0)
        with linux.in_network(there, socket.socket) as made:
            assert made.connect_ex(("127.0.0.1", 1)) == errno.ENETUNREACH  # its lo is down
    assert os.readlink("/proc/thread-self/ns/net") == own
    assert linux.in_network(None, lambda: 5) == 5


# --- verity --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "levels"),
    [(1, ()), (2, (1,)), (128, (1,)), (129, (2, 1)), (16384, (128, 1)), (16385, (129, 2, 1))],
)
def test_levels_of_the_hash_tree(data: int, levels: tuple[int, ...]) -> None:
    assert level_blocks(data) == levels


@pytest.fixture
def root(tmp_path: Path) -> tuple[Path, Verity]:
    """Three data blocks and their hash block."""
    blocks = [bytes([n]) * 4096 for n in (1, 2, 3)]
    salt = b"\xab\xcd"
    level = b"".join(hashlib.sha256(salt + block).digest() for block in blocks).ljust(4096, b"\0")
    path = tmp_path / "root.img"
    path.write_bytes(b"".join(blocks) + level)
    top = hashlib.sha256(salt + level).hexdigest()
    return path, Verity(data_blocks=3, hash_start=3, root_hash=top, salt=salt.hex())


def test_a_whole_root_is_accepted(root: tuple[Path, Verity]) -> None:
    check_root(*root)


@pytest.mark.parametrize(
    ("at", "what"),
    [(0, "data block 0"), (4096 * 3 - 1, "data block 2"), (4096 * 3 + 5, "hash block 3")],
)
def test_a_changed_byte_is_found(root: tuple[Path, Verity], at: int, what: str) -> None:
    path, verity = root
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{what} is corrupted"):
        check_root(path, verity)


def test_a_short_or_missing_root_is_found(root: tuple[Path, Verity]) -> None:
    path, verity = root
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="16383 bytes, must be 16384"):
        check_root(path, verity)
    path.unlink()
    with pytest.raises(InputError, match="No such file"):
        check_root(path, verity)


def test_the_kernels_argument(root: tuple[Path, Verity]) -> None:
    verity = root[1].model_copy(update={"salt": ""})
    table = f"0 24 verity 1 /dev/vda /dev/vda 4096 4096 3 3 sha256 {verity.root_hash} -"
    assert kernel_argument(verity, "/dev/vda") == f'dm-mod.create="vroot,,,ro,{table}"'


def test_every_data_folder_that_is_asked_for_is_in_the_wheel() -> None:
    """The hardware folder was not, so an installed `onejob plan` had no hardware."""
    checkout = data_path("services").parent
    wheel = tomllib.loads((checkout / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    carried = wheel["targets"]["wheel"]["force-include"]
    sources = "".join(path.read_text() for path in (checkout / "src").rglob("*.py"))
    asked = set(re.findall(r'data_path\("(\w+)"\)', sources))
    assert asked == {"components", "hardware"} | (asked & {"services"})
    assert asked <= carried.keys()
