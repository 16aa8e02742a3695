"""Process 1 has logs only extended, from the moment at which the service has settled."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from init_container import Container, compile_job
from rows_container import make_container

pytestmark = [pytest.mark.root, pytest.mark.runc]

LOG = "/var/log/job/log"
OLD = f"{LOG}.1"


@pytest.fixture(scope="module")
def rows_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_job(tmp_path_factory.mktemp("logs"), "rows_job.c")


@pytest.fixture
def kept(tmp_path: Path, rows_job: Path) -> Iterator[Container]:
    """With a log on a data folder that outlives it."""
    made = make_container(tmp_path, rows_job)
    made.capabilities.append("CAP_LINUX_IMMUTABLE")
    made.environment[1] = "ONEJOB_DATA=dir"
    made.plan["logs"] = [(LOG, False), ("/var/log/job/never-there", False)]
    (made.root / LOG[1:]).write_text("first\n")
    yield made
    made.clean()
    for path in inside(made, LOG).parent.iterdir():
        if not path.is_symlink():
            subprocess.run(["chattr", "-a", path], check=True, timeout=60)


def inside(container: Container, path: str) -> Path:
    """Where the file lies on the data folder."""
    return container.root / f".onejob/data{path}"


def is_protected(path: Path) -> bool:
    """Whether root itself can only extend it."""
    with path.open("ab") as file:
        file.write(b"more\n")
    try:
        path.open("r+b").close()
    except PermissionError:
        return True
    return False


def start(container: Container, verb: str) -> None:
    container.start(verb)
    container.await_text("ready")


def test_a_log_is_protected_as_soon_as_the_service_has_settled(kept: Container) -> None:
    start(kept, "phases")
    assert is_protected(inside(kept, LOG))
    assert "first" in kept.text_of(LOG)
    assert "not protected" not in kept.console


def test_a_service_that_starts_may_still_change_its_log(kept: Container) -> None:
    """What an earlier start protected, too: it gives owner and mode."""
    start(kept, "phases")
    kept.clean()
    start(kept, "whoami")
    assert not is_protected(inside(kept, LOG))


@pytest.mark.parametrize("changes", [True, False])
def test_a_signal_lets_the_service_change_what_it_changes(kept: Container, changes: bool) -> None:
    kept.plan["logs"] = [(LOG, changes)]
    start(kept, "phases")
    kept.ask("signal", signal=int(signal.SIGHUP))
    assert is_protected(inside(kept, LOG)) is not changes


def test_a_log_that_was_rotated_stays_protected(kept: Container) -> None:
    start(kept, "phases")
    for _ in range(2):  # the second time over a log that was rotated before
        kept.ask("rename", **{"from": LOG, "to": OLD})
        assert is_protected(inside(kept, OLD))
        kept.ask("rename", **{"from": OLD, "to": LOG})
    assert is_protected(inside(kept, LOG))


def test_a_log_is_removed_for_a_drill(kept: Container) -> None:
    start(kept, "phases")
    kept.ask("remove", path=LOG)
    assert kept.ask("exists", path=LOG) is False


def test_what_cannot_be_protected_is_said_once(kept: Container) -> None:
    kept.capabilities.remove("CAP_LINUX_IMMUTABLE")
    start(kept, "phases")
    words = f"onejob: {LOG} is not protected from being rewritten: Operation not permitted"
    assert kept.console.count(words) == 1


def test_no_link_is_followed(kept: Container) -> None:
    """The service may have put it there."""
    (kept.root / LOG[1:]).unlink()
    (kept.root / LOG[1:]).symlink_to("other")
    (kept.root / "var/log/job/other").write_text("x")
    start(kept, "phases")
    assert not is_protected(inside(kept, "/var/log/job/other"))
    assert f"{LOG} is not protected" in kept.console
