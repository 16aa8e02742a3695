"""The plan's system calls as finished seccomp filters: arrays of ``struct sock_filter``.

The policy is for all: allowed calls pass; every other one is handed to process 1 (user
notification), which counts it, names it and refuses it. A row of the matrix is put on top of it in
each process, and hands what it does not allow to process 1 as its tracer (one listener is all that
the kernel allows a process). A call of another architecture, or of x32, kills the process: no
program of the image makes one.
"""

import os
from collections.abc import Iterable

import pyseccomp

from onejob.builder.instance import Cell
from onejob.model.errors import BuildError, LacksError
from onejob.model.plan import CallDecision, Plan
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


def build_policy(plan: Plan) -> bytes:
    """The filter of `plan`. BuildError for a call that is not what the plan calls it."""
    for call in plan.calls:
        check_call(call)
    return compile_filter(call.number for call in plan.calls)


def check_call(call: CallDecision) -> None:
    """BuildError unless name and number belong together."""
    if not 0 <= call.number < FIRST_X32_CALL or call_number(call.name) != call.number:
        raise BuildError(
            f"plan: {call.name} is not system call {call.number} of x86_64",
            "plan again: onejob build PROFILE does so",
        )


def enforces_rows(plan: Plan) -> bool:
    """Whether the matrix of `plan` becomes filters.

    Not where the service may gain rights by execve: without no_new_privs the kernel takes no filter
    from a process that has no CAP_SYS_ADMIN (seccomp(2)).
    """
    return bool(plan.matrix) and plan.service.no_new_privileges


def build_rows(plan: Plan) -> tuple[bytes, dict[Cell, tuple[int, int]]]:
    """The filters of the matrix of `plan`, one after the other, and where each cell's lies.

    The place is the number of its first instruction, and how many it has. Nothing where the matrix
    is not enforced.
    """
    rows, places = b"", dict[Cell, tuple[int, int]]()
    numbers = {call.name: call.number for call in plan.calls}
    for cell in [cell for row in plan.matrix for cell in (row.boot, row.serve) if cell]:
        if strange := sorted(set(cell) - numbers.keys()):
            raise BuildError(
                f"plan: its matrix has {strange[0]}, which is none of its calls",
                "plan again: onejob build PROFILE does so",
            )
        if cell not in places and enforces_rows(plan):
            row = compile_filter((numbers[name] for name in cell), pyseccomp.TRACE(0))
            places[cell] = len(rows) // INSTRUCTION_BYTES, len(row) // INSTRUCTION_BYTES
            rows += row
    return rows, places


def compile_filter(numbers: Iterable[int], otherwise: int = pyseccomp.NOTIFY) -> bytes:
    """BPF that allows exactly the calls `numbers`, by a binary search over them.

    By number, so that a call newer than the installed libseccomp can be allowed too.
    """
    try:
        pyseccomp.set_api(_API_LEVEL)
        rules = pyseccomp.SyscallFilter(otherwise)
        rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
        rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, _BINARY_TREE)
        for number in sorted(set(numbers)):
            rules.add_rule_exactly(pyseccomp.ALLOW, number)
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
