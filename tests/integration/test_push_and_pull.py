"""The two commands of docs/push.md, over a folder and a web server: what was pulled runs."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onejob.base.process import start_group
from onejob.base.progress import Quiet
from onejob.model.image import Image, open_image
from onejob.system.network import free_port
from onejob.system.rehearse import rehearse
from running import ROOT, must
from some_repositories import content
from unprivileged import as_user

from .small_image import build_small, compile_service

pytestmark = [pytest.mark.root]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("small")
    return build_small(compile_service(folder), folder / "small.onejob")


def onejob(place: Path, line: str) -> subprocess.CompletedProcess[str]:
    """A command as the page has it, in `place`, which is also what it remembers in."""
    words = [sys.executable, "-m", "onejob.cli.main", *line.split()[1:]]
    environment = {**os.environ, "ONEJOB_STATE": str(place / "state")}
    return subprocess.run(
        words, cwd=place, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The web server of the page, for the repository in `tmp_path`."""
    port = free_port()
    words = [sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", "srv", str(port)]
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    with start_group(words, cwd=tmp_path, **quiet) as process:
        while process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield f"http://127.0.0.1:{port}"


def commands(page: str) -> list[str]:
    """Its first two commands, about the small image and a repository here."""
    lines = re.findall(r"^    (onejob [^#\n]+)", (ROOT / page).read_text(), re.MULTILINE)[:2]
    return [line.replace("nginx", "small").replace("/srv/onejob", "srv") for line in lines]


@pytest.mark.runc
def test_the_two_commands_of_the_page(image: Image, tmp_path: Path, server: str) -> None:
    (tmp_path / "small.onejob").symlink_to(image.folder)
    first, second = commands("docs/push.md")
    pushed = onejob(tmp_path, first)
    must(pushed)
    assert "small.onejob version 1 pushed" in pushed.stdout
    must(onejob(tmp_path, second))
    assert content(tmp_path / "pulled.onejob") == content(image.folder)
    report = rehearse(open_image(tmp_path / "pulled.onejob"), "host", Quiet())
    assert report.passed

    again = f"onejob pull small --from {server} --trust keys/root.json -o served.onejob"
    must(onejob(tmp_path, again))
    assert content(tmp_path / "served.onejob") == content(image.folder)
    listed = onejob(tmp_path, f"onejob pull --from {server}")
    assert re.search(r"small\.onejob\W+1\W+20\d\d-", listed.stdout)


def test_a_pulled_profile_is_planned(image: Image, tmp_path: Path) -> None:
    (tmp_path / "small.xml").symlink_to(image.profile)
    must(onejob(tmp_path, "onejob push small.xml --to srv --keys keys --create"))
    pull = "onejob pull small.profile.xml --from srv --trust keys/root.json"
    must(onejob(tmp_path, pull))
    must(onejob(tmp_path, "onejob plan small.profile.xml --accept-lost-events -o plan.json"))


def test_a_refusal_is_one_sentence_and_status_4(image: Image, tmp_path: Path) -> None:
    (tmp_path / "small.onejob").symlink_to(image.folder)
    must(onejob(tmp_path, "onejob push small.onejob --to srv --keys keys --create"))
    pull = "onejob pull small --from srv --trust keys/root.json -o got"
    (root,) = (tmp_path / "srv/targets").glob("*.root.img")
    root.write_bytes(root.read_bytes()[:-4096])
    done = onejob(tmp_path, pull)
    assert done.returncode == 4
    said = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    assert len(said) == 2
    assert said[0].startswith(f"onejob: {tmp_path}/srv holds something that is not what was signed")
    assert sorted(os.listdir(tmp_path)) == ["keys", "small.onejob", "srv", "state"]


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that everybody may use; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="onejob-open-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_whoever_is_not_root_pulls_and_remembers_for_himself(
    image: Image, open_place: Path
) -> None:
    (open_place / "small.onejob").symlink_to(image.folder)
    must(onejob(open_place, "onejob push small.onejob --to srv --keys keys --create"))
    home = open_place / "home"
    home.mkdir()
    home.chmod(0o777)
    (home / "root.json").write_bytes((open_place / "keys/root.json").read_bytes())
    words = ("pull", "small", "--from", open_place / "srv", "--trust", "root.json", "-o", "got")
    done = subprocess.run(
        as_user(sys.executable, "-m", "onejob.cli.main", *words),
        cwd=home, env={"PATH": os.environ["PATH"], "HOME": str(home)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    must(done)
    assert content(home / "got") == content(image.folder)
    assert os.listdir(home / ".local/state/onejob") == ["repositories"]
