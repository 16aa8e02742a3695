"""What `--trust` takes beyond the observed: named files, the C library's list, reachable calls."""

import hashlib
from pathlib import Path

import pytest

import small_world
from onejob.model.component import Component, load_components
from onejob.model.plan import Plan, Trust
from onejob.model.profile import (
    Account,
    FileUse,
    Group,
    Profile,
    ReachableCall,
    Role,
    RoleCall,
    Start,
)
from onejob.model.syscalls import call_name, call_number
from onejob.planner.choices import Choices
from onejob.planner.plan import make_plan
from onejob.profiler.static.summary import ObjectSummary, summarize
from small_world import PROGRAM, call, component, seen

ROOT = Path(__file__).resolve().parents[3]
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
COMPONENTS = load_components(ROOT / "components")
LISTED = [(c.name, row.function, row.name) for c in COMPONENTS for row in c.call if row.function]
ABORT = component("libc-abort", """
    trust = "known"
    asked_by = { paths = ["*/libc.so.6"] }
    [[call]]
    name = "tgkill"
    function = "abort"
    why = "it sends the signal"
""")  # fmt: skip
THREADS = component("libc-threads", """
    asked_by = { starts = ["thread"] }
    requires = { paths = ["*/libc.so.6"] }
    [[call]]
    name = "madvise"
    why = "the heap of a thread shrinks"
""")  # fmt: skip
WITH_LIBC = (*small_world.FILES, seen(LIBC, "mapped"))
THREAD = Start(program=PROGRAM, child=PROGRAM, drill="serve", how="thread", count=1)


def plan(profile: Profile, trust: Trust = "known", *extra: Component) -> Plan:
    components = (*small_world.components(), *extra)
    return make_plan(profile, small_world.hardware(), components, Choices(trust=trust))


def calls(made: Plan) -> dict[str, str]:
    return {row.name: row.reason for row in made.calls}


# --- the list of the C library -------------------------------------------------------------------


@pytest.fixture(scope="module")
def libc() -> ObjectSummary:
    return summarize(LIBC, hashlib.sha256(Path(LIBC).read_bytes()).hexdigest())


def steps_to(libc: ObjectSummary, function: str) -> dict[str, int]:
    """The calls that an exported function comes to, with the fewest functions in between."""
    found: dict[str, int] = {}
    near = set(libc.exports[function])
    seen_functions: set[int] = set()
    for steps in range(len(libc.functions)):
        seen_functions |= near
        for number in near:
            for made in libc.functions[number].calls:
                found.setdefault(call_name(made), steps)
        near = {edge for n in near for edge in libc.functions[n].edges} - seen_functions
        if not near:
            break
    return found


@pytest.mark.parametrize(("name", "function", "wanted"), LISTED)
def test_each_listed_call_is_near_its_function_in_this_machines_c_library(
    libc: ObjectSummary, name: str, function: str, wanted: str
) -> None:
    assert name.startswith("libc-")
    assert steps_to(libc, function)[wanted] <= 5


def test_what_is_near_a_function_is_not_everything(libc: ObjectSummary) -> None:
    assert not {"mount", "socket", "execve", "setuid"} & steps_to(libc, "abort").keys()
    assert {"socket", "connect"} <= steps_to(libc, "__res_nsend").keys()


def test_every_call_of_the_list_says_which_function_makes_it() -> None:
    listed = [c for c in COMPONENTS if c.name.startswith("libc-")]
    assert len(listed) >= 4
    for each in listed:
        assert each.trust == "known"
        assert "glibc 2." in each.summary
        assert all(row.function and call_number(row.name) is not None for row in each.call)


# --- who gets it ---------------------------------------------------------------------------------


def test_the_list_is_for_whoever_loads_the_c_library() -> None:
    reason = "libc: abort: it sends the signal [libc-abort]"
    assert calls(plan(small_world.profile(files=WITH_LIBC), "known", ABORT))["tgkill"] == reason
    assert "tgkill" not in calls(plan(small_world.profile(), "known", ABORT))
    assert "tgkill" not in calls(plan(small_world.profile(files=WITH_LIBC), "observed", ABORT))


@pytest.mark.parametrize("libc_is_there", [True, False])
@pytest.mark.parametrize("starts", [(), (THREAD,)])
def test_what_is_required_has_to_hold_besides(
    libc_is_there: bool, starts: tuple[Start, ...]
) -> None:
    files = WITH_LIBC if libc_is_there else small_world.FILES
    made = plan(small_world.profile(files=files, starts=starts), "known", THREADS)
    assert ("madvise" in calls(made)) == (libc_is_there and bool(starts))


def test_who_started_threads_is_said() -> None:
    made = plan(small_world.profile(files=WITH_LIBC, starts=(THREAD,)), "known", THREADS)
    assert f"libc-threads: thread started by {PROGRAM} in serve" in made.components


def test_who_sleeps_by_select_in_one_role_may_in_each() -> None:
    """PostgreSQL's workers do where a lock is held, which a drill meets or does not."""
    stages: tuple[tuple[Role, str], ...] = (("main", "pselect6"), ("worker", "read"))
    made = tuple(
        RoleCall(program=PROGRAM, role=role, settled=True, call_name=name, drill="serve", count=1)
        for role, name in stages
    )
    profile = small_world.profile(role_calls=made, calls=(call("pselect6"), call("read")))
    select = next(each for each in COMPONENTS if each.name == "libc-select")
    for extra, expected in (((), False), ((select,), True)):
        rows = {row.role: row for row in plan(profile, "known", *extra).matrix}
        assert ("pselect6" in rows["worker"].serve) == expected


def test_who_found_all_names_in_a_file_may_ask_a_server_for_others() -> None:
    """exim4 looks up whoever connects: 127.0.0.1 under its drills, a stranger in a guest."""
    resolver = next(each for each in COMPONENTS if each.name == "libc-resolver")
    for hows, expected in ((("looked-up",), False), (("read",), True)):
        files = (*small_world.FILES, seen("/etc/resolv.conf", *hows))
        made = plan(small_world.profile(files=files), "known", resolver)
        assert ("sendto" in calls(made)) == expected, hows
    reason = "libc-resolver: reading /etc/resolv.conf"
    assert reason in made.components


# --- each trust takes more -----------------------------------------------------------------------


def test_each_trust_takes_more_than_the_one_before() -> None:
    named = FileUse(path="/etc/hosts", kind="file", origin="static", named_by=("/x: imports y",))
    reached = ReachableCall(object=PROGRAM, call_name="ptrace", reason="imports ptrace")
    profile = small_world.profile(
        files=(*WITH_LIBC, named), reachable_calls=(reached,), calls=(call("read"),)
    )
    trusts: tuple[Trust, ...] = ("observed", "known", "union")
    made = {trust: plan(profile, trust, ABORT) for trust in trusts}
    assert {trust: each.trust for trust, each in made.items()} == {t: t for t in trusts}
    with_file = {t for t, p in made.items() if "/etc/hosts" in {file.path for file in p.files}}
    assert with_file == {"known", "union"}
    assert calls(made["known"]).keys() - calls(made["observed"]).keys() == {"tgkill"}
    assert calls(made["union"]).keys() - calls(made["known"]).keys() == {"ptrace"}
    assert calls(made["union"])["ptrace"] == f"static: {PROGRAM}: imports ptrace"


def test_accounts_that_were_only_named_are_left_out_with_observed() -> None:
    named = Account(name="uucp", uid=10, gid=10, origin="static")
    group = Group(name="uucp", gid=10, members=("uucp",), origin="static")
    profile = small_world.profile(accounts=(named,), groups=(group,))
    for trust, there in (("observed", False), ("known", True)):
        made = {file.path: file.text for file in plan(profile, trust).files}  # type: ignore[arg-type]
        assert ("uucp:x:10:10::/:/nonexistent\n" in made["/etc/passwd"]) == there
