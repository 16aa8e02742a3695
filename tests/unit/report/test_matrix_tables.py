"""The matrix as tables: sizes, what falls away, whose call is whose."""

import pytest

from built_plans import CALLS, make_plan
from onejob.model.argument_words import arguments_in_words
from onejob.model.plan_policy import ArgumentCheck, CallDecision, CheckedCall, MatrixRow
from onejob.report.matrix import GONE, MARK, matrix_notes, matrix_tables

PLANNED = make_plan(
    calls=tuple(
        CallDecision(name=name, number=number, reason="")
        for number, name in enumerate(("read", "write", "open"))
    ),
    matrix=(
        MatrixRow(program="/bin/a", boot=("read", "write"), serve=("read",)),
        MatrixRow(program="/bin/a", role="worker", boot=("read", "open")),
    ),
)


def test_a_row_says_how_many_calls_and_which_fall_away() -> None:
    sizes, _, _ = matrix_tables(PLANNED)
    assert sizes.rows == (
        ("/bin/a", "main", "2", "1", "write"),
        ("/bin/a", "worker", "2", "as boot", ""),
    )


def test_call_by_call_those_of_all_last() -> None:
    _, calls, _ = matrix_tables(PLANNED)
    assert calls.heads == ("call", "a main boot", "a main serve", "a worker boot")
    assert calls.rows == (
        ("write", MARK, GONE, GONE),
        ("open", GONE, GONE, MARK),
        ("read", MARK, MARK, MARK),
    )


def test_arguments_are_shown_in_words() -> None:
    checks = (
        ArgumentCheck(call="read", arguments=(1,), masks=(6,), values=None, reason=""),
        ArgumentCheck(call="write", arguments=(1,), masks=(7,), values=((3,),), reason=""),
    )
    write = CheckedCall(call="write", values=((3,),))
    first = PLANNED.matrix[0].model_copy(update={"boot_arguments": (write,)})
    plan = PLANNED.model_copy(
        update={"argument_checks": checks, "matrix": (first, *PLANNED.matrix[1:])}
    )
    _, _, arguments = matrix_tables(plan)
    assert arguments.rows == (
        ("read", "/bin/a", "main", "any", "any"),
        ("read", "/bin/a", "worker", "any", "as boot"),
        ("write", "/bin/a", "main", "0x3", GONE),
    )


@pytest.mark.parametrize(
    ("call", "values", "words"),
    [
        ("socket", (2, 1, 0), "inet stream"),
        ("socket", (16, 3, 4), "netlink raw 4"),
        ("socketpair", (1, 2, 0), "unix dgram"),
        ("mmap", (6,), "write and execute"),
        ("kill", (15,), "SIGTERM"),
        ("tgkill", (33,), "signal 33"),
        ("clone", (0x10010000,), "thread NEWUSER"),
        ("prctl", (4,), "SET_DUMPABLE"),
        ("ioctl", (0x1234,), "0x1234"),
    ],
)
def test_what_has_a_name_is_named(call: str, values: tuple[int, ...], words: str) -> None:
    assert arguments_in_words(call, values) == words


def test_no_rows_are_explained() -> None:
    (note,) = matrix_notes(make_plan())
    assert f"each of the {len({c.number for c in CALLS})} calls" in note
    service = PLANNED.service.model_copy(update={"no_new_privileges": False})
    (note,) = matrix_notes(PLANNED.model_copy(update={"service": service}))
    assert "cannot be enforced" in note
    assert matrix_notes(PLANNED) == ("the image allows 3 calls in all",)
