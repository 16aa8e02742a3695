"""The filter, run by a small interpreter of its own for every call there can be."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from built_plans import make_plan
from onejob.builder.policy import (
    FIRST_X32_CALL,
    INSTRUCTION_BYTES,
    MAX_INSTRUCTIONS,
    build_policy,
    build_rows,
    compile_filter,
)
from onejob.model.errors import BuildError
from onejob.model.plan import CallDecision, MatrixRow, Plan

# include/uapi/linux/seccomp.h and audit.h
ALLOW, TRACE, NOTIFY, KILL_PROCESS = 0x7FFF0000, 0x7FF00000, 0x7FC00000, 0x80000000
X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
# Opcodes of include/uapi/linux/bpf_common.h, as far as libseccomp uses them.
LOAD_WORD, AND, JUMP, RETURN = 0x20, 0x54, 0x05, 0x06
JUMPS: dict[int, Callable[[int, int], bool]] = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
}
CALLS = range(601)


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    """The program as (code, jump if true, jump if false, constant)."""
    return list(struct.iter_unpack("<HBBI", program))


def verdict(program: list[tuple[int, int, int, int]], number: int, arch: int = X86_64) -> int:
    """What the kernel would decide on call `number`; every jump is forwards, so it ends."""
    data = struct.pack("<II7Q", number & 0xFFFFFFFF, arch, *[0] * 7)
    accumulator, at = 0, 0
    while True:
        code, true, false, constant = program[at]
        at += 1
        if code == RETURN:
            return constant
        if code == LOAD_WORD:
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif code == AND:
            accumulator &= constant
        elif code == JUMP:
            at += constant
        else:
            at += true if JUMPS[code](accumulator, constant) else false


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 600)))
def test_each_call_gets_its_verdict(allowed: set[int]) -> None:
    program = decode(compile_filter(allowed))
    found = {number for number in CALLS if verdict(program, number) == ALLOW}
    assert found == allowed
    assert {verdict(program, n) for n in CALLS if n not in allowed} <= {NOTIFY}


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 600)), st.integers(0, 2**32 - 1))
def test_other_architectures_and_x32_are_killed(allowed: set[int], number: int) -> None:
    program = decode(compile_filter(allowed))
    for arch in (I386, AARCH64, 0):
        assert verdict(program, number, arch) == KILL_PROCESS
    for call in allowed:
        assert verdict(program, FIRST_X32_CALL + call) == KILL_PROCESS


def test_nothing_allowed_still_asks_process_1() -> None:
    assert {verdict(decode(compile_filter([])), number) for number in CALLS} == {NOTIFY}


def test_all_calls_fit_in_what_the_kernel_takes() -> None:
    program = compile_filter(range(0, 1200, 2))
    assert len(program) % INSTRUCTION_BYTES == 0
    assert len(program) // INSTRUCTION_BYTES < MAX_INSTRUCTIONS


def test_the_search_is_a_tree() -> None:
    """A hundred calls cost a path of some steps, not a hundred comparisons."""
    program = decode(compile_filter(range(0, 200, 2)))
    assert sum(code == 0x15 for code, *_ in program) > 100
    assert max(path_length(program, number) for number in range(200)) < 24


def path_length(program: list[tuple[int, int, int, int]], number: int) -> int:
    """Instructions that the kernel runs to decide on call `number`."""
    steps = [0]

    class Counted(list[tuple[int, int, int, int]]):
        def __getitem__(self, at):  # type: ignore[no-untyped-def, override]
            steps[0] += 1
            return super().__getitem__(at)

    verdict(Counted(program), number)
    return steps[0]


def test_the_plan_decides() -> None:
    program = decode(build_policy(make_plan()))
    assert [n for n in CALLS if verdict(program, n) == ALLOW] == [0, 1, 59, 231]


@pytest.mark.parametrize(
    ("name", "number"), [("read", 1), ("no_such", 7), ("call_-1", -1), ("write", FIRST_X32_CALL)]
)
def test_a_call_that_is_not_what_it_is_called_is_refused(name: str, number: int) -> None:
    calls = (CallDecision(name=name, number=number, reason="hostile"),)
    with pytest.raises(BuildError, match=f"{name} is not system call {number} of x86_64"):
        build_policy(make_plan(calls=calls))


def planned(*rows: MatrixRow, safe: bool = True) -> Plan:
    calls = [CallDecision(name=n, number=k, reason="") for n, k in (("read", 0), ("write", 1))]
    service = make_plan().service.model_copy(update={"no_new_privileges": safe})
    return make_plan(matrix=rows, calls=tuple(calls), service=service)


ROWS = (
    MatrixRow(program="/a", boot=("read", "write"), serve=("read",)),
    MatrixRow(program="/a", role="worker", boot=("read",), serve=()),
)


def test_a_row_hands_what_it_refuses_to_the_tracer() -> None:
    rows, places = build_rows(planned(*ROWS))
    assert set(places) == {("read", "write"), ("read",)}  # what is equal is there once
    for cell, (first, count) in places.items():
        end = (first + count) * INSTRUCTION_BYTES
        program = decode(rows[first * INSTRUCTION_BYTES : end])
        allowed = {number for number in CALLS if verdict(program, number) == ALLOW}
        assert allowed == {{"read": 0, "write": 1}[name] for name in cell}
        assert verdict(program, 59) == TRACE
        assert verdict(program, 0, I386) == KILL_PROCESS


def test_a_row_with_a_call_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(BuildError, match="its matrix has chmod, which is none of its calls"):
        build_rows(planned(MatrixRow(program="/a", boot=("chmod",))))


def test_a_service_that_may_gain_rights_has_no_rows() -> None:
    assert build_rows(planned(*ROWS, safe=False)) == (b"", {})
