"""What all tests share: what they need of the machine, one profile, one image, the leak check."""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from machine_state import RUN_MARK, snapshot_key, take_snapshot
from onejob.base.natives import native_path
from running import ROOT, Onejob, must, run_onejob

# A loaded machine is slow without anything being wrong.
settings.register_profile("onejob", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("onejob")

BUILD_LIMIT_S = 1700
FIXTURE_NEEDS = {"nginx_profile": ("root", "ebpf"), "nginx_image": ("kernel",)}


def _lacks_root() -> str:
    return "" if os.geteuid() == 0 else "not root"


@functools.cache
def _lacks_ebpf() -> str:
    done = subprocess.run(
        [native_path("onejob-probe"), "check"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return "" if done.returncode == 0 else f"no eBPF: {done.stdout.strip()}{done.stderr.strip()}"


def _lacks_tool(name: str) -> str:
    return "" if shutil.which(name) else f"{name} is not installed"


def _lacks_kernel() -> str:
    sources = list(Path("/usr/src").glob("linux-source-6*.tar.*"))
    return "" if sources else "no kernel source in /usr/src"


LACKS: dict[str, Callable[[], str]] = {
    "root": _lacks_root,
    "ebpf": _lacks_ebpf,
    "runc": lambda: _lacks_tool("runc"),
    "qemu": lambda: _lacks_tool("qemu-system-x86_64"),
    "kernel": _lacks_kernel,
    "jdk": lambda: _lacks_tool("javac"),
    "podman": lambda: _lacks_tool("podman"),
}


def pytest_configure(config: pytest.Config) -> None:
    """Mark all that this session starts, and look at the machine before it does."""
    os.environ[RUN_MARK] = str(os.getpid())
    config.stash[snapshot_key] = take_snapshot()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fixtures bring their needs along; the leak check comes last."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            for marker in FIXTURE_NEEDS.get(fixture, ()):
                item.add_marker(marker)
    items.sort(key=lambda item: item.path.name == "test_zz_leaks.py")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot do; where CI cannot do it, CI is broken."""
    for marker in item.iter_markers():
        reason = LACKS[marker.name]() if marker.name in LACKS else ""
        if reason and os.environ.get("CI") == "true":
            pytest.fail(f"CI must be able to run {marker.name} tests: {reason}")
        if reason:
            pytest.skip(reason)


@pytest.fixture(scope="session")
def onejob() -> Onejob:
    """The command line: ``onejob("plan", path)``."""
    return run_onejob


@pytest.fixture(scope="session")
def nginx_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile of the gallery's nginx under all its drills, taken once."""
    path = tmp_path_factory.mktemp("nginx") / "nginx.profile.xml"
    workload = ROOT / "services/nginx/workload.toml"
    must(run_onejob("profile", "--workload", workload, "-o", path, timeout=300))
    return path


@pytest.fixture(scope="session")
def nginx_image(nginx_profile: Path) -> Iterator[Path]:
    """Its image with kernel for the default hardware, built once; read only."""
    path = nginx_profile.parent / "nginx.onejob"
    must(run_onejob("build", nginx_profile, "-o", path, timeout=BUILD_LIMIT_S))
    before = sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*"))
    yield path
    assert before == sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*")), "image was changed"
