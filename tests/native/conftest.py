"""The container around process 1 that its tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from init_container import Container, compile_job


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service of the tests of process 1, compiled once."""
    return compile_job(tmp_path_factory.mktemp("job"))


@pytest.fixture
def container(tmp_path: Path, job: Path) -> Iterator[Container]:
    container = Container(tmp_path, job)
    yield container
    container.clean()
