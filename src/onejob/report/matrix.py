"""The matrix of system calls as tables: how much each role may, and which call is whose."""

import posixpath
from collections.abc import Iterable

from onejob.model.argument_words import allowed_in_words
from onejob.model.plan import Plan
from onejob.model.plan_policy import MatrixRow
from onejob.report.overview import Table

MARK, GONE = "x", "·"


def matrix_tables(plan: Plan) -> tuple[Table, Table, Table]:
    """The rows with their sizes and what falls away at ready, call by call, and the arguments.

    In the second a column is a program's role before and after its processes settle; calls that all
    of them have come last.
    """
    return _sizes(plan.matrix), _calls(plan), _arguments(plan)


def _sizes(matrix: Iterable[MatrixRow]) -> Table:
    rows = tuple(
        (
            row.program,
            row.role,
            str(len(row.boot)),
            str(len(row.serve)) if row.serve else "as boot",
            ", ".join(name for name in row.boot if row.serve and name not in row.serve),
        )
        for row in matrix
    )
    heads = ("program", "role", "calls in boot", "in serve", "gone once it serves")
    return Table("system calls by program, role and phase", heads, rows)


def _calls(plan: Plan) -> Table:
    columns = [
        (f"{posixpath.basename(row.program)} {row.role} {phase}", set(cell))
        for row in plan.matrix
        for phase, cell in (("boot", row.boot), ("serve", row.serve))
        if cell
    ]
    names = [call.name for call in plan.calls if any(call.name in cell for _, cell in columns)]
    names.sort(key=lambda name: all(name in cell for _, cell in columns))
    rows = tuple((name, *(MARK if name in cell else GONE for _, cell in columns)) for name in names)
    return Table("call by call", ("call", *(head for head, _ in columns)), rows)


def _arguments(plan: Plan) -> Table:
    """What each role may give to the calls whose arguments are checked."""
    rows = []
    for check in plan.argument_checks:
        if not plan.matrix:
            rows.append((check.call, "all", "", allowed_in_words(check.call, check.values), ""))
        for row in plan.matrix:
            boot, serve = (
                allowed_in_words(check.call, {c.call: c.values for c in arguments}.get(check.call))
                if check.call in cell
                else GONE
                for cell, arguments in (
                    (row.boot, row.boot_arguments), (row.serve, row.serve_arguments)
                )
            )  # fmt: skip
            if boot != GONE:
                same = "" if row.serve else "as boot"
                rows.append((check.call, row.program, row.role, boot, same or serve))
    heads = ("call", "program", "role", "arguments in boot", "in serve")
    return Table("arguments that are checked", heads, tuple(rows))


def matrix_notes(plan: Plan) -> tuple[str, ...]:
    """What a reader of the tables must know."""
    if not plan.matrix:
        return (
            f"the profile of {plan.name} does not tell roles apart, so all its processes may make"
            f" each of the {len(plan.calls)} calls that the image allows",
        )
    if not plan.service.no_new_privileges:
        return (
            f"{plan.name} runs set-user-id programs, so these rows cannot be enforced: each of its"
            f" processes may make each of the {len(plan.calls)} calls that the image allows",
        )
    answered = tuple(
        f"{call.name} fails with {call.errno}: {call.reason}" for call in plan.answered_calls
    )
    return (f"the image allows {len(plan.calls)} calls in all", *answered)
