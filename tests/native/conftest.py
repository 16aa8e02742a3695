"""What the tests of the native parts share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from init_container import Container, compile_job
from recorder_driver import Recorder
from rows_container import make_container


@pytest.fixture(scope="module", params=[pytest.param("ebpf", marks=pytest.mark.ebpf), "ptrace"])
def backend(request: pytest.FixtureRequest) -> str:
    """What the probe watches with: what is seen must not depend on it."""
    return str(request.param)


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service of the tests of process 1, compiled once."""
    return compile_job(tmp_path_factory.mktemp("job"))


@pytest.fixture
def container(tmp_path: Path, job: Path) -> Iterator[Container]:
    container = Container(tmp_path, job)
    yield container
    container.clean()


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    # The folders above are closed to other users; a child that drops its rights must get through.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return Recorder(tmp_path / "recordings")


@pytest.fixture(scope="session", params=["-static", "-no-pie"], ids=["static", "dynamic"])
def any_job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service of the tests of rows, linked in both ways."""
    return compile_job(tmp_path_factory.mktemp("rows"), "rows_job.c", request.param)


@pytest.fixture(scope="session")
def rows_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_job(tmp_path_factory.mktemp("rows"), "rows_job.c")


@pytest.fixture
def any_rows(tmp_path: Path, any_job: Path) -> Iterator[Container]:
    container = make_container(tmp_path, any_job)
    yield container
    container.clean()


@pytest.fixture
def rows(tmp_path: Path, rows_job: Path) -> Iterator[Container]:
    container = make_container(tmp_path, rows_job)
    yield container
    container.clean()
