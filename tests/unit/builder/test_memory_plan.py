"""The plan file of the memory manager: what stands in it, and what cannot."""

import json

import pytest

from built_plans import make_plan
from onejob.builder.instance import instance_text
from onejob.builder.memory import COUNTS_BYTES, MemoryOptions, manager_text, memory_plan_text
from onejob.model.errors import BuildError
from onejob.model.plan import MemoryArray, MemoryManager
from onejob.planner.memory_manager import COUNTS_KIB
from onejob.system.memory import FILE_SIZE


def array(program: str, smallest: int, size: int, blocks: int) -> MemoryArray:
    return MemoryArray(
        program=program, smallest=smallest, block_size=size, blocks=blocks, spare=blocks - 3,
        reason="for a test",
    )  # fmt: skip


def test_programs_stand_one_after_the_other() -> None:
    arrays = [array("/a", 1, 16, 5), array("/a", 33, 64, 7), array("/b c", 17, 32, 9)]
    options = MemoryOptions(counts="/run/memory", unsafe_free=True, delay=8)
    assert memory_plan_text(arrays, options) == (
        "onejob-memory 1\n"
        "counts /run/memory\n"
        "kernel-from 262145\n"
        "unsafe-free yes\n"
        "huge-pages no\n"
        "delay 8\n"
        "program /a\n"
        "array 1 16 5 2\n"
        "array 33 64 7 4\n"
        "program /b c\n"
        "array 17 32 9 6\n"
        "end\n"
    )


def test_a_service_without_arrays_has_a_plan_too() -> None:
    text = memory_plan_text([], MemoryOptions())
    assert text.splitlines()[1:] == [
        "kernel-from 262145", "unsafe-free no", "huge-pages no", "delay 0", "end",
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["relative", "/two\nlines", "/zero\0byte", "/" + "x" * 4000])
def test_paths_that_no_line_can_hold_are_refused(path: str) -> None:
    with pytest.raises(BuildError, match="cannot be in a memory plan"):
        memory_plan_text([array(path, 1, 16, 1)], MemoryOptions())
    with pytest.raises(BuildError, match="cannot be in a memory plan"):
        memory_plan_text([], MemoryOptions(counts=path))


@pytest.mark.parametrize("delay", [-1, 257])
def test_a_delay_that_the_library_refuses_is_refused(delay: int) -> None:
    with pytest.raises(BuildError, match=f"delay of {delay} blocks"):
        memory_plan_text([], MemoryOptions(delay=delay))


def test_a_plan_that_the_library_does_not_read_is_refused() -> None:
    arrays = [array(f"/{number:04}", 1, 16, 1) for number in range(16384)]
    with pytest.raises(BuildError, match="bytes long, of at most 262144"):
        memory_plan_text(arrays, MemoryOptions())


def test_files_of_counts_have_the_size_that_is_read() -> None:
    assert COUNTS_BYTES == FILE_SIZE == COUNTS_KIB * 1024


def test_the_image_names_programs_and_files_of_counts() -> None:
    arrays = (array("/a", 1, 32, 1), array("/b", 1, 16, 1), array("/b", 17, 32, 1))
    manager = MemoryManager(kind="static", counts="/run/c", unsafe_free=True, reason="test")
    plan = make_plan(memory=arrays, memory_manager=manager)
    assert "counts /run/c\n" in manager_text(plan)
    assert "unsafe-free yes\n" in manager_text(plan)
    instance = json.loads(instance_text(plan, (0, 5), {}))
    assert instance["counts"] == ["/run/c", 2, COUNTS_BYTES]


def test_without_it_there_is_nothing_of_it() -> None:
    assert manager_text(make_plan()) == ""
    assert "counts" not in json.loads(instance_text(make_plan(), (0, 5), {}))
