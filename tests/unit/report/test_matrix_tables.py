"""The matrix as tables: sizes, what falls away, whose call is whose."""

from built_plans import CALLS, make_plan
from onejob.model.plan import CallDecision, MatrixRow
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
    sizes, _ = matrix_tables(PLANNED)
    assert sizes.rows == (
        ("/bin/a", "main", "2", "1", "write"),
        ("/bin/a", "worker", "2", "as boot", ""),
    )


def test_call_by_call_those_of_all_last() -> None:
    _, calls = matrix_tables(PLANNED)
    assert calls.heads == ("call", "a main boot", "a main serve", "a worker boot")
    assert calls.rows == (
        ("write", MARK, GONE, GONE),
        ("open", GONE, GONE, MARK),
        ("read", MARK, MARK, MARK),
    )


def test_no_rows_are_explained() -> None:
    (note,) = matrix_notes(make_plan())
    assert f"each of the {len({c.number for c in CALLS})} calls" in note
    service = PLANNED.service.model_copy(update={"no_new_privileges": False})
    (note,) = matrix_notes(PLANNED.model_copy(update={"service": service}))
    assert "cannot be enforced" in note
    assert matrix_notes(PLANNED) == ("the image allows 3 calls in all",)
