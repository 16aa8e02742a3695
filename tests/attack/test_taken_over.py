"""A service that an attacker has taken over: what works on the stock system fails in the image."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onejob.base.linux import in_network
from onejob.base.verity import check_root
from onejob.model.errors import OnejobError
from onejob.model.image import Image, open_image
from onejob.system.host import host_instance
from running import must, run_onejob

pytestmark = [pytest.mark.root, pytest.mark.ebpf, pytest.mark.runc]

PORT = 7007
WORKLOAD = """
name = "vulnerable"
command = ["{program}"]
ports = [{port}]
ready = {{ tcp = {port} }}

[[drill]]
name = "greet"
run = {{ command = ["bash", "-c", "{greet}"], prints = "hello" }}
"""
ATTACKS = {
    "write to the program's own configuration": "write {config}",
    "create a program": "create {folder}/new",
    "start a shell": "run /bin/sh",
    "make a program setuid": "chmod {config}",
    "hide files under a mount": "mount {folder}",
    "leave the mount namespace": "unshare",
    "open a raw socket": "raw-socket",
    "become another user": "become 33",
    "be traced": "trace",
}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder of the host's that is no temporary one: programs lie in such."""
    folder = Path("/opt/onejob-attack")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = Path(__file__).with_name("vulnerable.c")
    subprocess.run(["gcc", "-O1", "-o", folder / "service", source], check=True, timeout=60)
    (folder / "service.conf").write_text("important = true\n")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image of the service, profiled while nobody attacked it."""
    folder = tmp_path_factory.mktemp("attack")
    workload = folder / "workload.toml"
    greet = f"exec 3<>/dev/tcp/127.0.0.1/{PORT}; echo hello >&3; cat <&3"
    text = WORKLOAD.format(program=place / "service", port=PORT, greet=greet)
    workload.write_text(f'include = ["{place}"]\n{text}')
    for words in (
        ["profile", "-w", workload, "-o", folder / "profile.xml"],
        ["build", folder / "profile.xml", "-o", folder / "image.onejob", "--without-kernel"],
    ):
        must(run_onejob(*words))
    return open_image(folder / "image.onejob")


@contextmanager
def stock(place: Path) -> Iterator[Path | None]:
    """The service as a general-purpose system runs it, in a mount namespace that it may spoil."""
    script = f"ip link set lo up; exec {place / 'service'}"
    process = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-c", script])
    network = Path(f"/proc/{process.pid}/ns/net")
    try:
        while network.readlink() == Path("/proc/self/ns/net").readlink():
            time.sleep(0.01)
        yield network
    finally:
        process.kill()
        process.wait()


def ask(network: Path | None, wish: str) -> str:
    """Send one line to the service; what it answers. Waits until the service is there."""

    def talk() -> str:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                connection = socket.create_connection(("127.0.0.1", PORT), timeout=5)
            except OSError:
                time.sleep(0.02)
                continue
            with connection:
                connection.sendall(wish.encode() + b"\n")
                return connection.recv(200).decode().strip()
        raise AssertionError("the service never listened")

    return in_network(network, talk)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_succeeds_on_stock_and_fails_in_image(name: str, place: Path, image: Image) -> None:
    """Each attack works where nothing prevents it, so that its failure means something."""
    wish = ATTACKS[name].format(config=place / "service.conf", folder=place)
    with stock(place) as network:
        assert ask(network, wish) == "done", "the attack itself must work"
    (place / "new").unlink(missing_ok=True)
    (place / "service.conf").chmod(0o644)
    with host_instance(image) as instance:
        assert ask(instance.network, "hello") == "hello"
        assert ask(instance.network, wish) != "done"
        assert ask(instance.network, "hello") == "hello", "the service goes on"


def test_flipped_byte_is_an_error(image: Image, tmp_path: Path) -> None:
    """A changed byte of the root is found before anything is run from it."""
    copy = tmp_path / "root.img"
    shutil.copyfile(image.root, copy)
    check_root(copy, image.manifest.verity)
    with copy.open("r+b") as file:
        file.seek(9000)
        byte = file.read(1)
        file.seek(9000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(OnejobError, match="block 2"):
        check_root(copy, image.manifest.verity)


def test_a_changed_image_is_not_run_on_a_host(image: Image, tmp_path: Path) -> None:
    """Neither with another root nor with another plan."""
    folder = tmp_path / "changed.onejob"
    shutil.copytree(image.folder, folder)
    with (folder / "root.img").open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(OnejobError, match="block 0"), host_instance(open_image(folder)):
        pytest.fail("it ran")
    plan = folder / "plan.json"
    plan.write_text(plan.read_text().replace('"reason"', '"Reason"', 1))
    with pytest.raises(OnejobError, match=r"plan\.json is not what the manifest says"):
        open_image(folder)
