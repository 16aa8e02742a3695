"""Arguments of calls: who may give which, from the drills in which a stage made the call."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import small_world
from onejob.base.natives import data_path
from onejob.model.component import CallAnswer, CallCheck, Component, MoreArguments, load_components
from onejob.model.plan_policy import ArgumentCheck, CallDecision, MatrixRow
from onejob.model.profile import Argument, CallUse, Profile, ReachableCall, Role, RoleCall
from onejob.model.syscalls import call_number
from onejob.planner.arguments import (
    Grant,
    answer_calls,
    checks_of,
    grants_of_all,
    plan_argument_checks,
)
from onejob.planner.matrix import plan_matrix
from small_world import PROGRAM

MMAP = CallCheck(
    call="mmap", arguments=(2,), masks=(6,), harmless=((0,), (2,)), why="no such memory"
)
SOCKET = CallCheck(
    call="socket", arguments=(0, 1), masks=(0xFFFFFFFF, 0xFFF7F7FF), why="no such socket"
)
CHECKS = {"mmap": MMAP, "socket": SOCKET}
DECISIONS = tuple(
    CallDecision(name=name, number=call_number(name) or 0, reason="")
    for name in ("mmap", "socket", "accept", "clone")
)


def seen(call: str, drill: str, *values: int, program: str = PROGRAM) -> Argument:
    return Argument(program=program, call_name=call, drill=drill, values=values, count=1)


def staged(call: str, drill: str, settled: bool = False, role: Role = "main") -> RoleCall:
    return RoleCall(
        program=PROGRAM, role=role, settled=settled, call_name=call, drill=drill, count=1
    )


def profile_of(*rows: RoleCall, arguments: tuple[Argument, ...] = (), **more: Any) -> Profile:
    calls = tuple(
        CallUse(program=r.program, call_name=r.call_name, phase="serve", drill=r.drill, count=1)
        for r in rows
    )
    return small_world.profile(
        **{"role_calls": rows, "arguments": arguments, "calls": calls, **more}
    )


def row_of(profile: Profile, *everywhere: Grant) -> MatrixRow:
    (found,) = plan_matrix(profile, DECISIONS, set(everywhere), CHECKS)
    return found


def checked(row: MatrixRow, phase: str, call: str) -> tuple[tuple[int, ...], ...] | None:
    cell = row.boot_arguments if phase == "boot" else row.serve_arguments
    return next((each.values for each in cell if each.call == call), None)


def check_of(profile: Profile, call: str, *everywhere: Grant) -> ArgumentCheck:
    found = plan_argument_checks(profile, DECISIONS, set(everywhere), CHECKS, {})
    return next(check for check in found if check.call == call)


def test_what_only_the_start_maps_executable_is_gone_when_it_serves() -> None:
    found = row_of(
        profile_of(
            staged("mmap", "start"), staged("accept", "serve", True), staged("mmap", "serve", True),
            arguments=(seen("mmap", "start", 5, 2), seen("mmap", "serve", 3, 34)),
        )
    )  # fmt: skip
    assert checked(found, "boot", "mmap") == ((0,), (2,), (4,))
    assert checked(found, "serve", "mmap") == ((0,), (2,))


def test_a_service_that_maps_writable_code_may_go_on() -> None:
    found = row_of(
        profile_of(staged("mmap", "serve", True), arguments=(seen("mmap", "serve", 7, 34),))
    )
    assert checked(found, "serve", "mmap") == ((0,), (2,), (6,))


def test_only_the_masked_bits_count() -> None:
    arguments = (seen("socket", "start", 2, 0x80801, 6), seen("socket", "start", 2, 1, 0))
    profile = profile_of(staged("socket", "start"), arguments=arguments)
    assert checked(row_of(profile), "boot", "socket") == ((2, 1),)
    assert check_of(profile, "socket").values == ((2, 1),)


def test_a_call_with_unknown_arguments_is_not_checked_and_that_is_said() -> None:
    profile = profile_of(staged("socket", "start"))
    assert checked(row_of(profile), "boot", "socket") is None
    check = check_of(profile, "socket")
    assert check.values is None
    assert check.reason == (
        f"not checked: it is made by {PROGRAM} in start with arguments that nobody knows"
    )


def test_arguments_of_a_drill_whose_stages_nobody_saw_are_of_all() -> None:
    arguments = (seen("socket", "start", 1, 1), seen("socket", "imported", 10, 2))
    profile = profile_of(
        staged("socket", "start"), staged("accept", "serve", True), arguments=arguments
    )
    found = row_of(profile)
    assert checked(found, "boot", "socket") == ((1, 1), (10, 2))
    assert "socket" not in found.serve


def test_the_c_library_may_do_what_its_component_says() -> None:
    profile = profile_of(staged("socket", "start"), arguments=(seen("socket", "start", 1, 1),))
    found = row_of(profile, Grant("socket", (2, 2)))
    assert checked(found, "boot", "socket") == ((1, 1), (2, 2))


def test_code_that_was_only_found_may_give_any_arguments() -> None:
    reachable = (ReachableCall(object=PROGRAM, call_name="socket"),)
    profile = profile_of(
        staged("socket", "start"), arguments=(seen("socket", "start", 1, 1),),
        reachable_calls=reachable,
    )  # fmt: skip
    everywhere = grants_of_all(profile, {}, CHECKS, "union")
    check = check_of(profile, "socket", *everywhere)
    assert (check.values, grants_of_all(profile, {}, CHECKS, "known")) == (None, set())
    assert "code that was found and not seen to run" in check.reason


STAGES = st.tuples(st.sampled_from(["main", "worker"]), st.booleans())


@given(
    st.lists(
        st.tuples(STAGES, st.sampled_from(["start", "serve", "reload"]), st.integers(0, 7)),
        min_size=1,
    )
)
def test_no_row_refuses_what_was_seen_and_none_allows_what_the_policy_does_not(
    made: list[tuple[tuple[Role, bool], str, int]],
) -> None:
    rows = [staged("mmap", drill, settled, role) for (role, settled), drill, _ in made]
    rows.append(staged("clone", "start"))  # so that workers follow
    arguments = tuple(seen("mmap", drill, protection, 34) for _, drill, protection in made)
    profile = profile_of(*rows, arguments=arguments)
    matrix = plan_matrix(profile, DECISIONS, set(), CHECKS)
    policy = check_of(profile, "mmap").values or ()
    found = {row.role: row for row in matrix}
    for (role, settled), _, protection in made:
        cell = checked(found[role], "serve" if settled else "boot", "mmap") or ()
        assert (protection & 6,) in cell
        assert set(cell) <= set(policy)


def test_a_component_adds_values_where_the_call_is_allowed_at_all() -> None:
    more = MoreArguments(call="socket", values=((10, 2),), function="getaddrinfo", why="it looks")
    chosen = {"c": (Component(name="c", summary="s", check=(SOCKET,), more_arguments=(more,)), "")}
    profile = profile_of(
        staged("socket", "start"), staged("accept", "serve", True),
        arguments=(seen("socket", "start", 1, 1),),
    )  # fmt: skip
    checks = checks_of(chosen)
    (found,) = plan_matrix(profile, DECISIONS, set(), checks)
    assert checked(found, "boot", "socket") == ((1, 1), (10, 2))
    assert "socket" not in found.serve
    (check,) = plan_argument_checks(profile, DECISIONS, set(), checks, chosen)
    assert check.values == ((1, 1), (10, 2))
    assert check.reason == "no such socket; getaddrinfo: it looks [c]"


# ---- calls that are answered --------------------------------------------------------------------

CLONE3 = CallAnswer(
    call="clone3", errno="ENOSYS", instead="clone", unless=0x7E020080, why="flags in memory"
)
ANSWERING = {"c": (Component(name="c", summary="s", answer=(CLONE3,)), "")}


def test_clone3_becomes_clone_with_the_same_flags() -> None:
    profile = profile_of(staged("clone3", "start"), arguments=(seen("clone3", "start", 0x3D0F00),))
    called, (answered,) = answer_calls(profile, ANSWERING)
    assert (answered.name, answered.number, answered.errno) == ("clone3", 435, "ENOSYS")
    assert [use.call_name for use in called.calls] == ["clone"]
    assert [row.call_name for row in called.role_calls] == ["clone"]
    assert [(row.call_name, row.values) for row in called.arguments] == [("clone", (0x3D0F00,))]


@pytest.mark.parametrize("flags", [0x80, 0x10000000 | 0x11])
def test_who_makes_namespaces_by_clone3_keeps_it(flags: int) -> None:
    profile = profile_of(staged("clone3", "start"), arguments=(seen("clone3", "start", flags),))
    assert answer_calls(profile, ANSWERING) == (profile, ())


def test_who_never_called_it_gets_no_answer() -> None:
    profile = profile_of(staged("clone", "start"))
    assert answer_calls(profile, ANSWERING) == (profile, ())


# ---- the component library --------------------------------------------------------------------


def test_components_say_with_which_arguments_the_c_library_makes_checked_calls() -> None:
    components = load_components(data_path("components"))
    checks = {check.call: check for component in components for check in component.check}
    for component in components:
        for call in component.call:
            if check := checks.get(call.name):
                assert call.arguments or check.harmless, f"{component.name}: {call.name}"
                assert all(len(values) == len(check.arguments) for values in call.arguments)
            else:
                assert not call.arguments, f"{component.name}: {call.name} is not checked"
    assert all(call_number(name) is not None for name in checks)


def test_a_check_with_too_few_masks_is_refused() -> None:
    with pytest.raises(ValidationError, match="socket: 2 arguments, but 1"):
        CallCheck(call="socket", arguments=(0, 1), masks=(1,), why="some reason")
