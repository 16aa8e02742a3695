"""Core files: only where they are asked for and can be kept; as large as a process may become."""

import pytest

from built_plans import make_plan
from onejob.model.plan import CoreFiles, MemoryArray, Mount, Plan
from onejob.model.plan_policy import MatrixRow
from onejob.model.profile import Profile, ProgramPeak
from onejob.planner.core_files import with_core_files
from onejob.planner.memory_manager import arrays_kib

DATA = Mount(path="/var/lib/it", kind="data", reason="written")
ROW = MatrixRow(program="/it", boot=("read",))
PROFILE = Profile(
    name="it",
    program_peaks=(
        ProgramPeak(program="/it", resident_kib=1000),
        ProgramPeak(program="/other", resident_kib=400),
    ),
)


def planned(**changes: object) -> Plan:
    return make_plan(**{"mounts": (DATA,), "matrix": (ROW,), **changes})


def test_off_unless_asked_for() -> None:
    assert with_core_files(planned(), PROFILE, 0) == planned()


def test_as_large_as_the_largest_process_with_its_arrays() -> None:
    array = MemoryArray(program="/it", block_size=1024, smallest=1, blocks=160, reason="x")
    plan = with_core_files(planned(memory=(array,)), PROFILE, 3)
    reason = "--core-dumps 3; a process held 1000 KiB at most, and has its arrays"
    assert plan.core_files == CoreFiles(most=3, kib=1250 + arrays_kib((array,)), reason=reason)
    assert plan.core_files_kib == 3 * (1250 + arrays_kib((array,)))
    assert plan.sizes("share")["core files"] == str(plan.core_files_kib)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mounts": ()}, "the service has no data partition"),
        ({"matrix": ()}, "process 1 traces no process of this service"),
        ({"denied": "off"}, "process 1 traces no process of this service"),
    ],
)
def test_where_none_can_be_kept_the_plan_says_why(changes: dict[str, object], why: str) -> None:
    plan = with_core_files(planned(**changes), PROFILE, 3)
    assert plan.core_files is None
    assert plan.warnings[-1] == f"no core files (--core-dumps): {why}"
