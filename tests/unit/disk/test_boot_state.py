"""Boot state: one sector in GRUB's form, read strictly."""

import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onejob.disk.device import SECTOR
from onejob.disk.state import (
    SLOTS,
    State,
    format_state,
    new_partition,
    other,
    parse_state,
    trial,
)
from onejob.model.errors import InputError

states = st.builds(State, st.sampled_from(SLOTS), st.sampled_from(("", *SLOTS)), st.integers(0, 3))


@given(states)
def test_it_is_read_as_written(state: State) -> None:
    sector = format_state(state)
    assert len(sector) == SECTOR
    assert parse_state(sector, "disk") == state


@given(states, st.integers(0, SECTOR - 1), st.integers(1, 255))
def test_a_changed_byte_is_another_state_or_none(state: State, at: int, change: int) -> None:
    sector = bytearray(format_state(state))
    sector[at] ^= change
    found = None
    with suppress(InputError):
        found = parse_state(bytes(sector), "disk")
    assert found is None or format_state(found) == bytes(sector)


def test_lines_may_stand_in_any_order() -> None:
    """GRUB may put what it has changed last."""
    text = b"# GRUB Environment Block\ntries=2\nfirst=b\ntrying=a\n".ljust(SECTOR, b"#")
    assert parse_state(text, "disk") == State("b", "a", 2)


@pytest.mark.parametrize(
    "text",
    [b"", b"first=a\ntrying=\ntries=0\n", b"# GRUB Environment Block\nfirst=a\ntrying=b\n",
     b"# GRUB Environment Block\nfirst=c\ntrying=\ntries=0\n",
     b"# GRUB Environment Block\nfirst=a\ntrying=\ntries=0\nmore=1\n",
     b"# GRUB Environment Block\nfirst=a\nfirst=b\ntries=0\n"],
)  # fmt: skip
def test_anything_else_is_damaged(text: bytes) -> None:
    with pytest.raises(InputError, match="boot state is damaged"):
        parse_state(text.ljust(SECTOR, b"#"), "disk")


def test_the_partition_is_an_archive_with_one_file(tmp_path: Path) -> None:
    (tmp_path / "state.tar").write_bytes(new_partition(State("a", "b", 3)))
    words = ["tar", "-xOf", tmp_path / "state.tar", "state"]
    said = subprocess.run(words, capture_output=True, check=True, timeout=60).stdout
    assert said == format_state(State("a", "b", 3))
    assert new_partition(State("a", "b", 3))[SECTOR : 2 * SECTOR] == said


def test_which_slot_is_next() -> None:
    assert State("a").next == "a"
    assert trial(State("a"), "b").next == "b"
    assert State("a", "b", 0).next == "a"
    assert [other(slot) for slot in SLOTS] == ["b", "a"]
