"""The trial of a slot: its state is changed when the service is ready, and never otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from init_container import Container

from onejob.disk.device import SECTOR
from onejob.disk.state import State, new_partition, parse_state

pytestmark = [pytest.mark.root, pytest.mark.runc]


class Tried:
    """A container that takes itself for slot b of a disk; its state is a file."""

    def __init__(self, container: Container, place: Path) -> None:
        self.container, self.path = container, place / "state"
        place.mkdir()
        (container.root / "disk").mkdir()
        container.mounts.append(
            {"destination": "/disk", "type": "bind", "source": str(place), "options": ["bind"]}
        )
        container.environment += ["ONEJOB_SLOT=b", "ONEJOB_STATE=/disk/state"]
        self.write(State("a", "b", 2))
        self.ready(60_000)

    def ready(self, within_ms: int, *ports: int) -> None:
        self.container.plan["ready"] = {"within_ms": within_ms, "ports": ports}

    def write(self, state: State) -> None:
        self.path.write_bytes(new_partition(state))

    @property
    def sector(self) -> bytes:
        return self.path.read_bytes()[SECTOR : 2 * SECTOR]

    @property
    def state(self) -> State:
        return parse_state(self.sector, "the test")


@pytest.fixture
def tried(rows: Container, tmp_path: Path) -> Tried:
    return Tried(rows, tmp_path / "disk")


def test_a_service_that_listens_makes_its_slot_the_first(tried: Tried) -> None:
    tried.ready(60_000, 8023)
    tried.container.start("tcp", "8023")
    tried.container.await_text("slot b is good: it boots from now on")
    assert tried.state == State("b")
    assert tried.path.read_bytes()[:SECTOR] == new_partition(State("a"))[:SECTOR]
    tried.container.ask("stop")


def test_one_without_ports_is_good_when_it_has_settled(tried: Tried) -> None:
    tried.container.start("phases")
    tried.container.await_text("slot b is good")
    assert tried.state == State("b")


def test_its_state_is_open_before_devices_are_taken_away(tried: Tried) -> None:
    """/dev had no device of the state any more when the slot was good."""
    tried.container.start("phases")
    tried.container.await_text("main serve")
    tried.path = tried.path.rename(tried.path.with_name("moved"))
    tried.container.await_text("slot b is good: it boots from now on")
    assert tried.state == State("b")


@pytest.mark.parametrize("words", [("phases",), ("tcp", "8024"), ("restless",)])
def test_one_that_is_never_ready_ends_and_changes_nothing(
    tried: Tried, words: tuple[str, ...]
) -> None:
    """It settles, but listens elsewhere or nowhere; or it never settles."""
    tried.ready(2_000, *([] if words == ("restless",) else [8023]))
    tried.container.start(*words)
    tried.container.status()
    assert "slot b has not become ready within 2 s: the machine restarts" in tried.container.console
    assert tried.state == State("a", "b", 2)


def test_one_that_gives_up_first_changes_nothing(tried: Tried) -> None:
    tried.container.environment.remove("ONEJOB_DRIVEN=yes")
    tried.container.plan["restart"] = {
        "attempts": 2, "first_ms": 20, "longest_ms": 20, "steady_ms": 60_000,
    }  # fmt: skip
    tried.container.start("exit", "7")
    assert tried.container.status() == 7
    assert "it is not started again" in tried.container.console
    assert tried.state == State("a", "b", 2)


def test_one_that_fails_now_and_then_is_not_good(tried: Tried) -> None:
    """It settles each time, and ends before it has been ready for some seconds."""
    tried.container.environment.remove("ONEJOB_DRIVEN=yes")
    tried.ready(8_000)
    tried.container.plan["restart"] = {
        "attempts": 20, "first_ms": 900, "longest_ms": 900, "steady_ms": 0,
    }  # fmt: skip
    tried.container.start("exit", "7")
    tried.container.status()
    assert "slot b has not become ready" in tried.container.console
    assert tried.state == State("a", "b", 2)


@pytest.mark.parametrize("state", [State("a", "", 0), State("b", "", 0), State("b", "a", 1)])
def test_a_slot_that_is_not_on_trial_changes_nothing(tried: Tried, state: State) -> None:
    tried.write(state)
    tried.ready(500)
    tried.container.start("phases")
    tried.container.await_text("main serve")
    assert "trial" not in tried.container.console
    assert tried.container.ask("processes")
    assert tried.state == state


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\xff" * 4096])
def test_what_is_no_state_is_left_alone(tried: Tried, content: bytes) -> None:
    tried.path.write_bytes(content)
    tried.container.start("phases")
    tried.container.await_text("cannot read the boot state /disk/state")
    tried.container.await_text("main serve")
    assert tried.path.read_bytes() == content


def test_half_of_the_words_is_refused(tried: Tried) -> None:
    tried.container.environment.remove("ONEJOB_STATE=/disk/state")
    tried.container.start("phases")
    assert tried.container.status() == 1
    assert "do not say which slot this is. Hint: give both" in tried.container.console
