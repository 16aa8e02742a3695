"""The filter, run by a small interpreter of its own for every call there can be."""

import errno
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pyseccomp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from built_plans import make_plan
from onejob.builder.policy import (
    FIRST_X32_CALL,
    INSTRUCTION_BYTES,
    MAX_INSTRUCTIONS,
    Compare,
    build_filters,
    build_policy,
    build_rows,
    compile_filter,
)
from onejob.model.errors import BuildError
from onejob.model.plan import Plan
from onejob.model.plan_policy import (
    AnsweredCall,
    ArgumentCheck,
    CallDecision,
    CheckedCall,
    MatrixRow,
)

# include/uapi/linux/seccomp.h and audit.h
ALLOW, TRACE, NOTIFY, KILL_PROCESS = 0x7FFF0000, 0x7FF00000, 0x7FC00000, 0x80000000
X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ERRNO = 0x00050000
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


def verdict(
    program: list[tuple[int, int, int, int]],
    number: int,
    arch: int = X86_64,
    arguments: Sequence[int] = (0,) * 6,
) -> int:
    """What the kernel would decide on call `number`; every jump is forwards, so it ends."""
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *arguments)
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
    assert set(places) == {(("read", "write"), ()), (("read",), ())}  # what is equal is there once
    for (cell, _), (first, count) in places.items():
        end = (first + count) * INSTRUCTION_BYTES
        program = decode(rows[first * INSTRUCTION_BYTES : end])
        allowed = {number for number in CALLS if verdict(program, number) == ALLOW}
        assert allowed == {{"read": 0, "write": 1}[name] for name in cell}
        assert verdict(program, 59) == TRACE
        assert verdict(program, 0, I386) == KILL_PROCESS


def test_policy_and_rows_lie_one_after_the_other_in_one_file() -> None:
    plan = planned(*ROWS)
    filters, (first, count), places = build_filters(plan)
    assert filters == build_policy(plan) + build_rows(plan)[0]
    assert (first, count * INSTRUCTION_BYTES) == (0, len(build_policy(plan)))
    ends = [count, *sorted(first + length for first, length in places.values())]
    assert sorted(first for first, _ in places.values()) == ends[:-1]
    assert ends[-1] * INSTRUCTION_BYTES == len(filters)


def test_a_row_with_a_call_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(BuildError, match="its matrix has chmod, which is none of its calls"):
        build_rows(planned(MatrixRow(program="/a", boot=("chmod",))))


def test_a_service_that_may_gain_rights_has_no_rows() -> None:
    assert build_rows(planned(*ROWS, safe=False)) == (b"", {})


# ---- arguments --------------------------------------------------------------------------------

WORDS = st.one_of(st.integers(0, 8), st.integers(0, 2**64 - 1))
MASKS = st.sampled_from([0x1, 0x6, 0xFFFFFFFF, 0xFFF7F7FF, 0x7E830000, 2**64 - 1])


@st.composite
def check_and_calls(
    draw: st.DrawFn,
) -> tuple[tuple[tuple[Compare, ...], ...], list[tuple[int, ...]]]:
    """Alternatives of one call, and arguments to try: some that fit, some that miss by one bit."""
    arguments = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True))
    masks = [draw(MASKS) for _ in arguments]
    alternatives = tuple(
        tuple(Compare(a, m, draw(WORDS) & m) for a, m in zip(arguments, masks, strict=True))
        for _ in range(draw(st.integers(1, 4)))
    )
    tries = [tuple(draw(WORDS) for _ in range(6))]
    for alternative in alternatives:
        words = [draw(WORDS) for _ in range(6)]
        for compare in alternative:
            words[compare.argument] = words[compare.argument] & ~compare.mask | compare.value
        tries.append(tuple(words))
        words[draw(st.integers(0, 5))] ^= 1 << draw(st.integers(0, 63))
        tries.append(tuple(words))
    return alternatives, tries


@settings(max_examples=150, deadline=None)
@given(st.sets(st.integers(0, 600), max_size=60), st.integers(0, 600), check_and_calls())
def test_a_checked_call_passes_with_exactly_the_arguments_that_fit(
    others: set[int],
    checked: int,
    drawn: tuple[tuple[tuple[Compare, ...], ...], list[tuple[int, ...]]],
) -> None:
    alternatives, tries = drawn
    program = decode(compile_filter(others | {checked}, checks={checked: alternatives}))
    for words in tries:
        fits = any(all(words[a] & m == v for a, m, v in each) for each in alternatives)
        assert (verdict(program, checked, arguments=words) == ALLOW) is fits
        for number in others - {checked}:
            assert verdict(program, number, arguments=words) == ALLOW


def with_arguments(**more: Any) -> Plan:
    calls = (("mmap", 9), ("socket", 41))
    made = [CallDecision(name=name, number=number, reason="") for name, number in calls]
    checks = (
        ArgumentCheck(call="mmap", arguments=(2,), masks=(6,), values=((0,), (2,)), reason=""),
        ArgumentCheck(call="socket", arguments=(0,), masks=(7,), values=None, reason=""),
    )
    answered = (AnsweredCall(name="clone3", number=435, errno="ENOSYS", reason=""),)
    return make_plan(
        **{"calls": tuple(made), "argument_checks": checks, "answered_calls": answered, **more}
    )


def test_the_policy_has_the_checks_and_answers_of_the_plan() -> None:
    program = decode(build_policy(with_arguments()))
    protections = {prot: verdict(program, 9, arguments=(0, 0, prot, 0, 0, 0)) for prot in range(8)}
    assert {prot for prot, found in protections.items() if found == ALLOW} == {0, 1, 2, 3}
    assert {protections[prot] for prot in (4, 5, 6, 7)} == {NOTIFY}
    assert verdict(program, 41, arguments=(17, 0, 0, 0, 0, 0)) == ALLOW  # nobody knows which
    assert verdict(program, 435) == ERRNO | errno.ENOSYS


def test_a_row_has_the_checks_of_its_cell() -> None:
    socket = CheckedCall(call="socket", values=((1,), (2,)))
    row = MatrixRow(program="/a", boot=("mmap", "socket"), boot_arguments=(socket,))
    rows, _ = build_rows(with_arguments(matrix=(row,)))
    program = decode(rows)
    allowed = {n for n in range(8) if verdict(program, 41, arguments=(n, 0, 0, 0, 0, 0)) == ALLOW}
    assert allowed == {1, 2}
    assert verdict(program, 41) == TRACE
    assert verdict(program, 9, arguments=(0, 0, 7, 0, 0, 0)) == ALLOW  # the policy refuses it


def test_a_row_whose_plan_does_not_say_what_is_checked_is_refused() -> None:
    read = CheckedCall(call="mmap", values=((1,),))
    row = MatrixRow(program="/a", boot=("mmap",), boot_arguments=(read,))
    with pytest.raises(BuildError, match="does not say which arguments of mmap are checked"):
        build_rows(with_arguments(matrix=(row,), argument_checks=()))


def test_the_kernel_decides_as_the_interpreter() -> None:
    """A child under the filter asks for sockets; of each argument only 32 bits count."""
    check = (
        (Compare(0, 0xFFFFFFFF, 1), Compare(1, 0xFFF7F7FF, 1), Compare(2, 0xFFFFFFFF, 0)),
        (Compare(0, 0xFFFFFFFF, 2), Compare(1, 0xFFF7F7FF, 2), Compare(2, 0xFFFFFFFF, 0)),
    )
    refused = pyseccomp.ERRNO(errno.EPERM)
    program = compile_filter(range(400), refused, {41: check}, {435: errno.ENOSYS})
    asked = [(1, 1, 0), (1, 0x80801, 0), (2, 2, 0), (2, 1, 0), (1, 2, 0), (17, 3, 0),
             (2**32 + 1, 1, 0)]  # fmt: skip
    code = f"""
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
program = bytes.fromhex({program.hex()!r})
buffer = ctypes.create_string_buffer(program, len(program))
header = struct.pack("<H6xQ", len(program) // 8, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header) == 0
def call(*words):
    made = libc.syscall(*(ctypes.c_ulong(word) for word in words))
    return 0 if made >= 0 else ctypes.get_errno()
print(*(call(41, *words) for words in {asked!r}), call(435, 0, 0))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert [int(word) for word in done.stdout.split()] == [0, 0, 0, 1, 1, 1, 0, errno.ENOSYS]
