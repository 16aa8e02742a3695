"""When the memory manager is preloaded, and what a plan then has for it."""

from typing import Any

import pytest

import small_world
from onejob.base.natives import data_path
from onejob.model.component import load_components
from onejob.model.plan import Plan
from onejob.model.profile import ProgramAllocation, ProgramPeak, RoleCall, Start
from onejob.planner.choices import Choices
from onejob.planner.memory import plan_memory
from onejob.planner.memory_manager import COUNTS_KIB, manager_kib
from onejob.planner.plan import make_plan
from small_world import PROGRAM, call, seen

CALLS_OF_ANY = {"mmap", "munmap", "mremap", "madvise"}
CALLS_AT_START = {"openat", "read", "close", "lseek", "readlinkat", "mprotect"}


def plan(memory: Any = "static", unsafe_free: bool = False, **changes: Any) -> Plan:
    return make_plan(
        small_world.profile(**changes), small_world.hardware(), load_components(components()),
        Choices(memory=memory, unsafe_free=unsafe_free),
    )  # fmt: skip


def components() -> Any:
    return data_path("components")


def paths(made: Plan) -> set[str]:
    return {file.path for file in made.files} | {mount.path for mount in made.mounts}


def test_programs_with_blocks_get_it_by_a_file_that_all_obey() -> None:
    made = plan()
    files = {file.path: file for file in made.files}
    assert made.memory_manager.kind == "static"
    assert files["/etc/ld.so.preload"].text == "/usr/lib/onejob/libonejob_memory.so\n"
    assert files["/usr/lib/onejob/libonejob_memory.so"].native == "libonejob_memory.so"
    (mount,) = [mount for mount in made.mounts if mount.path == "/run/onejob/memory"]
    assert (mount.kind, mount.size_kib) == ("tmpfs", COUNTS_KIB + 16)
    assert any(name.startswith("memory-manager: ") for name in made.components)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"memory": "none"}, "--memory none"),
        ({"allocations": ()}, "no memory blocks"),
        ({"files": (*small_world.FILES, seen("/etc/ld.so.preload", "read"))}, "was preloaded"),
        (
            {"workload": small_world.WORKLOAD.replace("MODE", "LD_PRELOAD")},
            "the workload preloads a library of its own",
        ),
    ],
)
def test_otherwise_each_program_keeps_its_own(changes: dict[str, Any], reason: str) -> None:
    made = plan(**changes)
    assert made.memory_manager.kind == "none"
    assert reason in made.memory_manager.reason
    assert made.memory == ()
    assert not {path for path in paths(made) if "/onejob" in path}
    assert "madvise" not in {call.name for call in made.calls}


def test_a_file_that_was_only_looked_for_preloads_nothing() -> None:
    missing = seen("/etc/ld.so.preload", "missing", kind="missing")
    assert plan(files=(*small_world.FILES, missing)).memory_manager.kind == "static"


def test_programs_that_the_loader_does_not_serve_are_named() -> None:
    programs = (
        seen("/bin/static", "executed"),
        seen("/bin/other", "executed", interpreter="/lib/ld-musl-x86_64.so.1"),
        seen("/bin/usual", "executed", interpreter="/lib64/ld-linux-x86-64.so.2"),
        seen("/bin/script", "executed"),
    )
    calls = (
        *small_world.profile().calls,
        *(
            call("read").model_copy(update={"program": file.path})
            for file in programs
            if file.path != "/bin/script"
        ),
    )
    apart = plan(files=programs, calls=calls).memory_manager.apart
    assert [item.path for item in apart] == ["/bin/other", "/bin/static"]
    assert "statically linked" in apart[1].reason and "musl" in apart[0].reason


def test_wrong_frees_are_let_pass_only_on_demand() -> None:
    assert not plan().memory_manager.unsafe_free
    assert plan(unsafe_free=True).memory_manager.unsafe_free


def test_what_it_calls_at_the_start_is_in_the_first_row_alone() -> None:
    rows = {
        (row.role, phase): set(cell)
        for row in plan(role_calls=ROLES).matrix
        for phase, cell in (("boot", row.boot), ("serve", row.serve))
    }
    assert rows.keys() == {(role, at) for role in ("main", "worker") for at in ("boot", "serve")}
    assert all(cell >= CALLS_OF_ANY for cell in rows.values())
    assert rows["main", "boot"] >= CALLS_AT_START
    for stage in (("main", "serve"), ("worker", "boot"), ("worker", "serve")):
        assert not rows[stage] & (CALLS_AT_START - {"close", "read"})


ROLES = tuple(
    RoleCall(program=PROGRAM, call_name=name, role=role, settled=settled, drill="serve", count=1)
    for role in ("main", "worker")
    for settled in (False, True)
    for name in (("read", "clone") if role == "main" else ("read",))
)


def needed(processes: int, blocks: int, *starts: Start) -> int:
    """KiB for arrays of so many blocks of 64 KiB, but for the counts."""
    row = ProgramAllocation(
        program="/a", block_size=64 * 1024, peak=blocks, allocated=blocks, freed=0
    )
    profile = small_world.profile(
        allocations=(row,),
        program_peaks=(ProgramPeak(program="/a", processes=processes),),
        starts=starts,
    )
    return manager_kib(profile, plan_memory(profile)) - COUNTS_KIB


def test_each_process_that_executed_its_program_has_all_arrays_for_itself() -> None:
    one = needed(1, 100)
    assert one > 64 * 100
    again = Start(program="/b", child="/a", drill="serve", how="exec", count=9)
    assert needed(5, 100, again) == 5 * one


def test_small_arrays_are_copied_for_each_process_that_was_forked() -> None:
    assert needed(5, 10) == 5 * needed(1, 10)
    assert needed(5, 10) > 5 * 64 * 10


def test_large_arrays_are_shared_with_processes_that_were_forked() -> None:
    """postgresql's, for each of 108 processes, made a guest of 1.6 GB, of which it used 0.24."""
    one, two, three = (needed(processes, 100) for processes in (1, 2, 3))
    library = three - two
    # Once more for what the parent changes, and then two pages a process for its one array.
    assert two == 2 * one
    assert library < 400
    assert needed(4000, 100) - needed(3999, 100) == library + 8
