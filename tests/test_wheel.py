"""The wheel works alone: native parts and data inside, no checkout anywhere near it."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCATE = """
import onejob
from onejob.base.natives import data_path, native_path
for name in {parts!r}:
    print(native_path(name))
for name in ("components", "services"):
    print(data_path(name))
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run outside of the checkout, with nothing of this environment but PATH."""
    return subprocess.run(
        [str(word) for word in words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        cwd="/", env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip


def native_parts() -> list[str]:
    lines = (ROOT / "scripts/native-parts.txt").read_text().splitlines()
    return [name for line in lines if (name := line.partition("#")[0].strip())]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    done = run(sys.executable, *build)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it.

    Its dependencies are lent by the environment of the tests (a path file is read there, but the
    path files *of* it, such as the editable checkout's, are not). That all of them are declared is
    checked in test_house.
    """
    folder = tmp_path_factory.mktemp("place")
    venv.create(folder, with_pip=False)
    pip = ("-m", "pip", "--python", str(folder), "install", "--no-deps", "--no-index", str(wheel))
    done = run(sys.executable, *pip)
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_its_name_says_that_it_holds_binaries(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-linux_x86_64.whl")


def test_parts_and_data_are_inside(place: Path) -> None:
    done = run(place / "bin/python", "-c", LOCATE.format(parts=native_parts()))
    assert done.returncode == 0, done.stderr
    found = [Path(line) for line in done.stdout.splitlines()]
    assert len(found) == len(native_parts()) + 2
    assert all(path.is_relative_to(place) and path.exists() for path in found), done.stdout


def test_its_help_works(place: Path) -> None:
    done = run(place / "bin/onejob", "--help")
    assert done.returncode == 0, done.stderr
    assert "profile" in done.stdout


def test_its_doctor_works(place: Path) -> None:
    """3 is the doctor's word for a machine that lacks something; a traceback is never its word."""
    done = run(place / "bin/onejob", "doctor")
    assert done.returncode in {0, 3}, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
