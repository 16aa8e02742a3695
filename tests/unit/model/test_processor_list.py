"""Sets of processors as the kernel writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onejob.model.processor_list import as_list, parse_list


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), ""), ((1,), "1"), ((0, 1), "0-1"), ((7, 0, 2, 3), "0,2-3,7")],
)
def test_processors_as_the_kernel_writes_them(numbers: tuple[int, ...], text: str) -> None:
    assert as_list(numbers) == text


@given(st.sets(st.integers(0, 8192)))
def test_what_is_written_is_read_again(numbers: set[int]) -> None:
    assert parse_list(as_list(numbers)) == numbers


@pytest.mark.parametrize("text", ["", "x", "-", "3-", "-3", "1.5", ",,"])
def test_what_is_no_number_is_left_out(text: str) -> None:
    assert parse_list(text) == set()
