"""`onejob status` of an image that `onejob run` runs, both as a user starts them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onejob.base.progress import Quiet
from onejob.builder.image import build_image
from onejob.model.image import Image
from onejob.model.jsonfile import load_json
from onejob.model.observations import Observations
from onejob.model.plan import Administrator
from onejob.system.administer import read_public_key
from onejob.system.network import free_port
from running import ROOT, must, run_onejob

from .small_image import PORT, build_small, compile_service
from .test_run_host import fetch

pytestmark = [pytest.mark.root, pytest.mark.runc]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("status")
    return build_small(compile_service(folder), folder / "small.onejob")


@contextmanager
def running_image(image: Image, port: int, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`onejob run` until it serves; ended by SIGTERM."""
    argv = [sys.executable, "-m", "onejob.cli.main", "run", str(image.folder), *words]
    argv += ["--publish", f"{port}:{PORT}"]
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert fetch(port) == 200
        yield process
    finally:
        said = b""
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said


def name_of(process: "subprocess.Popen[bytes]") -> str:
    """Under which name it is found: others may run on this machine."""
    listed = run_onejob("status", "--json")
    must(listed)
    [name] = [entry["name"] for entry in json.loads(listed.stdout) if entry["pid"] == process.pid]
    return str(name)


def test_a_running_image_is_found_and_tells(image: Image, tmp_path: Path) -> None:
    port = free_port()
    with running_image(image, port, "--data", str(tmp_path / "data")) as process:
        name = name_of(process)
        shown = run_onejob("status")
        must(shown)
        assert name in shown.stdout and f"127.0.0.1:{port}" in shown.stdout
        shown = run_onejob("status", name)
        must(shown)
        assert "most at once" in shown.stdout
        told = run_onejob("status", name, "--json")
        must(told)
        found = Observations.model_validate_json(told.stdout)
        assert (found.name, found.denials) == ("small", ())
        assert found.peaks.processes == len(found.processes) == 2
        assert found.peaks.sockets >= 1
        assert Path(f"/run/onejob/{name}").stat().st_mode & 0o777 == 0o700
    assert not os.path.exists(f"/run/onejob/{name}")
    kept = load_json(tmp_path / "data/.onejob/observations.json", Observations, "observations")
    assert kept.peaks.processes == 2 and kept.processes == ()


def test_an_unknown_instance_is_an_error() -> None:
    done = run_onejob("status", "nobody-is-called-so")
    assert done.returncode == 4
    assert "no instance nobody-is-called-so runs on this machine" in done.stderr


@pytest.mark.parametrize("way", ["socket", "port"])
def test_the_administrator_shuts_it_down(image: Image, tmp_path: Path, way: str) -> None:
    key, other, public = tmp_path / "key", tmp_path / "other", tmp_path / "public"
    for path in (key, other):
        openssl("genpkey", "-algorithm", "ed25519", "-out", path)
    openssl("pkey", "-in", key, "-pubout", "-out", public)
    who = Administrator(key=read_public_key(public), reason="a test")
    administered = rebuild(image, tmp_path / "small.onejob", who)
    port = free_port()
    with running_image(administered, free_port(), "--administer", str(port)) as process:
        name = name_of(process)
        words = [name] if way == "socket" else ["small", "--at", f"127.0.0.1:{port}"]
        refused = run_onejob("shutdown", *words, "--key", other)
        assert refused.returncode == 5
        assert "not the administrator's signature" in refused.stderr
        assert process.poll() is None
        must(run_onejob("shutdown", *words, "--key", key))
        said, _ = process.communicate(timeout=60)
        assert b"onejob: shut down by the administrator" in said
        assert process.returncode == 0


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


def rebuild(image: Image, place: Path, who: Administrator) -> Image:
    """The same with an administrator."""
    return build_image(
        image.plan.model_copy(update={"administrator": who}), image.profile.read_text(), place,
        with_kernel=False, cache=place.parent / "cache", progress=Quiet(),
    )  # fmt: skip
