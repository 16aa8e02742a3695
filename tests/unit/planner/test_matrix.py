"""The matrix of system calls: rows of roles, and what a process can become."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import small_world
from onejob.model.plan_policy import CallDecision, MatrixRow
from onejob.model.profile import Profile, Role, RoleCall, Start
from onejob.planner.matrix import plan_matrix
from onejob.planner.plan import make_plan
from small_world import PROGRAM

OTHER = "/usr/bin/helper"
NUMBERS = {
    name: number
    for number, name in enumerate(("read", "write", "accept", "fork", "execve", "chown", "exit"))
}


def row(name: str, role: Role = "main", settled: bool = False, program: str = PROGRAM) -> RoleCall:
    return RoleCall(
        program=program, role=role, settled=settled, call_name=name, drill="serve", count=1
    )


def rows_of(*seen: RoleCall, **more: Any) -> dict[tuple[str, str], MatrixRow]:
    profile = small_world.profile(role_calls=seen, calls=(), **more)
    calls = [CallDecision(name=name, number=n, reason="") for name, n in NUMBERS.items()]
    matrix = plan_matrix(profile, calls, frozenset(), {})
    return {(found.program, found.role): found for found in matrix}


def starts(how: str, child: str = PROGRAM) -> tuple[Start, ...]:
    return (Start(program=PROGRAM, child=child, drill="serve", how=how, count=1),)  # type: ignore[arg-type]


def test_a_process_may_still_do_what_it_does_when_it_has_settled() -> None:
    (found,) = rows_of(row("chown"), row("accept", settled=True)).values()
    assert found.boot == ("accept", "chown")
    assert found.serve == ("accept",)


def test_a_worker_does_not_carry_what_only_its_parent_needs() -> None:
    found = rows_of(
        row("chown"), row("fork", settled=True),
        row("read", "worker"), row("write", "worker", settled=True),
    )  # fmt: skip
    assert found[PROGRAM, "worker"].serve == ("write",)
    assert found[PROGRAM, "worker"].boot == ("read", "write")
    # It forks when it has settled, and its filter holds for the child.
    assert found[PROGRAM, "main"].serve == ("read", "write", "fork")


def test_one_that_executes_needs_what_the_next_program_needs() -> None:
    found = rows_of(
        row("execve", "worker"), row("accept", settled=True), row("chown", program=OTHER),
        row("fork"), starts=starts("exec", OTHER),
    )  # fmt: skip
    assert "chown" in found[PROGRAM, "worker"].boot
    assert found[OTHER, "main"].boot == ("chown",)
    assert found[PROGRAM, "main"].serve == ("accept",)  # no program is started then


def test_a_program_that_was_not_seen_to_settle_has_no_serve_row() -> None:
    (found,) = rows_of(row("read")).values()
    assert found.serve == ()


def test_a_profile_that_does_not_tell_roles_apart_has_no_rows() -> None:
    assert rows_of() == {}


def test_what_components_stand_for_is_in_each_row() -> None:
    profile = small_world.profile(role_calls=(row("read"), row("read", settled=True)))
    made = make_plan(profile, small_world.hardware(), small_world.components())
    (found,) = made.matrix
    assert "restart_syscall" in found.boot
    assert "restart_syscall" in found.serve


def test_a_call_of_which_no_stage_is_known_is_in_each_row() -> None:
    seen = (row("read"), row("accept", settled=True))
    profile = small_world.profile(role_calls=seen)  # its calls have more, as after a merge
    made = make_plan(profile, small_world.hardware(), small_world.components())
    (found,) = made.matrix
    assert "chown" in found.serve
    assert "execve" not in found.serve  # by that it came to be what it is


STAGES = st.tuples(
    st.sampled_from([PROGRAM, OTHER]), st.sampled_from(["main", "worker"]), st.booleans()
)


@given(st.lists(st.tuples(STAGES, st.sampled_from(sorted(NUMBERS)))), st.booleans())
def test_no_row_lacks_what_its_processes_were_seen_to_do(
    seen: list[tuple[tuple[str, Role, bool], str]], executes: bool
) -> None:
    rows = [row(name, role, settled, program) for (program, role, settled), name in seen]
    found = rows_of(*rows, starts=starts("exec", OTHER) if executes else ())
    for (program, role, settled), name in seen:
        matrix_row = found[program, role]
        assert name in matrix_row.boot
        assert not settled or name in matrix_row.serve
        assert set(matrix_row.serve) <= set(matrix_row.boot)


def test_profile_and_rows_have_the_same_programs() -> None:
    profile: Profile = small_world.profile(role_calls=(row("read"),))
    (found,) = plan_matrix(profile, (), frozenset(), {})
    assert found.program == PROGRAM
