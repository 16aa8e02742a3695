"""Which files can only be extended: those that the service was seen to change in no other way."""

import pytest

import small_world
from onejob.model.profile import CallUse, FileKind, FileUse, How, Use
from onejob.planner.files import plan_mounts
from onejob.planner.logs import plan_logs
from small_world import PROGRAM

LOG = "/var/log/keeper/log"
HELPER = "/usr/bin/helper"


def used(*hows: How, by: str = PROGRAM) -> tuple[Use, ...]:
    return tuple(Use(program=by, drill="serve", how=how, count=1) for how in hows)


def logs_of(
    uses: tuple[Use, ...],
    path: str = LOG,
    kind: FileKind = "file",
    calls: tuple[CallUse, ...] = (),
) -> list[str]:
    file = FileUse(path=path, kind=kind, existed=False, uses=uses)
    profile = small_world.profile(files=(file,), calls=calls)
    mounts, _ = plan_mounts(profile)
    return [log.path for log in plan_logs(profile, mounts)]


@pytest.mark.parametrize(
    "hows",
    [("appended",), ("created", "appended", "looked-up"), ("created", "appended", "changed")],
)
def test_what_is_only_extended_is_a_log(hows: tuple[How, ...]) -> None:
    assert logs_of(used(*hows)) == [LOG]


@pytest.mark.parametrize("how", ["written", "removed", "renamed-from", "renamed-to", "changed"])
def test_what_is_changed_in_another_way_is_none(how: How) -> None:
    assert logs_of(used("appended", how)) == []


def test_what_another_program_writes_is_none() -> None:
    assert logs_of(used("created", "appended") + used("written", by=HELPER)) == []


def test_who_does_not_make_a_log_may_not_have_to_change_its_owner() -> None:
    assert logs_of(used("created", "appended") + used("changed", by=HELPER)) == []


def test_only_files_of_the_data_partition() -> None:
    assert logs_of(used("created", "appended"), path="/run/keeper/log") == []
    assert logs_of(used("created", "appended"), kind="pipe") == []


@pytest.mark.parametrize("call", ["ftruncate", "truncate", "fallocate"])
def test_none_of_a_program_that_shortens_files_by_descriptor(call: str) -> None:
    calls = (CallUse(program=PROGRAM, call_name=call, phase="serve", drill="serve", count=1),)
    assert logs_of(used("created", "appended"), calls=calls) == []


def test_who_changes_one_of_its_logs_may_have_to_change_all() -> None:
    hows: tuple[tuple[How, ...], ...] = (("created", "appended", "changed"), ("appended",))
    files = tuple(
        FileUse(path=f"{LOG}{number}", kind="file", uses=used(*each))
        for number, each in enumerate(hows)
    )
    profile = small_world.profile(files=files, calls=())
    assert all(log.changes for log in plan_logs(profile, plan_mounts(profile)[0]))
