"""The plan's system calls as finished seccomp filters: arrays of ``struct sock_filter``.

The policy is for all: allowed calls pass; every other one is handed to process 1 (user
notification), which counts it, names it and refuses it. A row of the matrix is put on top of it in
each process, and hands what it does not allow to process 1 as its tracer (one listener is all that
the kernel allows a process). A checked call passes with the plan's arguments and is refused with
others; an answered call fails as if the kernel lacked it. A call of another architecture, or of
x32, kills the process: no program of the image makes one.
"""

import errno
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import pyseccomp

from onejob.builder.instance import Cell, Place, cells_of
from onejob.model.errors import BuildError, LacksError
from onejob.model.plan import Plan
from onejob.model.plan_policy import AnsweredCall, ArgumentValues, CallDecision
from onejob.model.syscalls import call_number

INSTRUCTION_BYTES = 8
# The kernel's BPF_MAXINSNS (include/uapi/linux/bpf_common.h).
MAX_INSTRUCTIONS = 4096
# x32 calls begin here (arch/x86/include/uapi/asm/unistd.h, __X32_SYSCALL_BIT).
FIRST_X32_CALL = 0x40000000
# libseccomp's level that knows user notification; forced, so that the kernel that builds need
# not have what the kernel that runs must have.
_API_LEVEL = 6
_BINARY_TREE = 2
_AGAIN = "plan again: onejob build PROFILE does so"


class Compare(NamedTuple):
    """An argument, by number, that has to be `value` under `mask`."""

    argument: int
    mask: int
    value: int


# Any one of them has to hold, and of it each comparison.
Alternatives = tuple[tuple[Compare, ...], ...]


def build_policy(plan: Plan) -> bytes:
    """The filter of `plan`. BuildError for a call that is not what the plan calls it."""
    for call in plan.calls + plan.answered_calls:
        check_call(call)
    values = {
        check.call: check.values for check in plan.argument_checks if check.values is not None
    }
    answers = {call.number: getattr(errno, call.errno) for call in plan.answered_calls}
    numbers = {call.name: call.number for call in plan.calls}
    return compile_filter(numbers.values(), checks=_alternatives(plan, values), answers=answers)


def _alternatives(
    plan: Plan, values: Mapping[str, tuple[ArgumentValues, ...]]
) -> dict[int, Alternatives]:
    """What `values` of checked calls mean, by number. BuildError for a call without a check."""
    numbers = {call.name: call.number for call in plan.calls}
    checks = {check.call: check for check in plan.argument_checks}
    if strange := sorted(values.keys() - (checks.keys() & numbers.keys())):
        raise BuildError(
            f"plan: it does not say which arguments of {strange[0]} are checked", _AGAIN
        )
    return {
        numbers[call]: tuple(
            tuple(map(Compare, checks[call].arguments, checks[call].masks, each))
            for each in allowed
        )
        for call, allowed in values.items()
    }


def check_call(call: CallDecision | AnsweredCall) -> None:
    """BuildError unless name and number belong together."""
    if not 0 <= call.number < FIRST_X32_CALL or call_number(call.name) != call.number:
        raise BuildError(f"plan: {call.name} is not system call {call.number} of x86_64", _AGAIN)


def enforces_rows(plan: Plan) -> bool:
    """Whether the matrix of `plan` becomes filters.

    Not where the service may gain rights by execve: without no_new_privs the kernel takes no filter
    from a process that has no CAP_SYS_ADMIN (seccomp(2)).
    """
    return bool(plan.matrix) and plan.service.no_new_privileges


def build_filters(plan: Plan) -> tuple[bytes, Place, dict[Cell, Place]]:
    """The policy and all rows of `plan`, one after the other, and where each lies."""
    policy = build_policy(plan)
    length = len(policy) // INSTRUCTION_BYTES
    rows, places = build_rows(plan)
    behind = {cell: (first + length, count) for cell, (first, count) in places.items()}
    return policy + rows, (0, length), behind


def build_rows(plan: Plan) -> tuple[bytes, dict[Cell, Place]]:
    """The filters of the matrix of `plan`, one after the other, and where each cell's lies.

    Nothing where the matrix is not enforced.
    """
    rows, places = b"", dict[Cell, Place]()
    numbers = {call.name: call.number for call in plan.calls}
    for cell in [cell for row in plan.matrix for cell in cells_of(row) if cell[0]]:
        names, checked = cell
        if strange := sorted({*names, *(check.call for check in checked)} - numbers.keys()):
            raise BuildError(
                f"plan: its matrix has {strange[0]}, which is none of its calls", _AGAIN
            )
        checks = _alternatives(plan, {check.call: check.values for check in checked})
        if cell not in places and enforces_rows(plan):
            row = compile_filter((numbers[n] for n in names), pyseccomp.TRACE(0), checks)
            places[cell] = len(rows) // INSTRUCTION_BYTES, len(row) // INSTRUCTION_BYTES
            rows += row
    return rows, places


def compile_filter(
    numbers: Iterable[int],
    otherwise: int = pyseccomp.NOTIFY,
    checks: Mapping[int, Alternatives] = MappingProxyType({}),
    answers: Mapping[int, int] = MappingProxyType({}),
) -> bytes:
    """BPF that allows exactly the calls `numbers`, by a binary search over them.

    Of `checks` only with such arguments; `answers` fail with an errno. By number, so that a call
    newer than the installed libseccomp can be allowed too.
    """
    try:
        pyseccomp.set_api(_API_LEVEL)
        rules = pyseccomp.SyscallFilter(otherwise)
        rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
        rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, _BINARY_TREE)
        for number in sorted(set(numbers)):
            for alternative in checks.get(number, ((),)):
                words = [pyseccomp.Arg(a, pyseccomp.MASKED_EQ, m, v) for a, m, v in alternative]
                rules.add_rule_exactly(pyseccomp.ALLOW, number, *words)
        for number, answer in sorted(answers.items()):
            rules.add_rule_exactly(pyseccomp.ERRNO(answer), number)
        return _checked_length(_export(rules))
    except (OSError, NotImplementedError) as error:
        raise LacksError(
            f"libseccomp cannot make the filter: {error}", "it must be 2.5 or newer"
        ) from error


def _export(rules: "pyseccomp.SyscallFilter") -> bytes:
    with os.fdopen(os.memfd_create("policy"), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _checked_length(program: bytes) -> bytes:
    count = len(program) // INSTRUCTION_BYTES
    if not 0 < count <= MAX_INSTRUCTIONS:
        raise BuildError(f"the filter has {count} instructions; the kernel takes 4096")
    return program
