"""Few commands: set-user-id bits that the workload names, shells that the service executes."""

from typing import Any

import pytest

import small_world
from onejob.model.errors import InputError
from onejob.model.plan import Plan, PlannedFile
from onejob.model.profile import FileUse
from onejob.planner.plan import make_plan
from small_world import component, seen

HELPER = "/usr/lib/helper"
NAMED = f'set_user_id = {{ "{HELPER}" = "it reads what only root may" }}\n'
LEAVE_OUT = component(
    "few", 'asked_by = { always = true }\n[[leave_out]]\npath = "*/bin/*sh"\nwhy = "a shell"'
)


def plan(*files: FileUse, workload: str = small_world.WORKLOAD, **changes: Any) -> Plan:
    profile = small_world.profile(files=(*small_world.FILES, *files), workload=workload, **changes)
    return make_plan(profile, small_world.hardware(), (*small_world.components(), LEAVE_OUT))


def planned(made: Plan, path: str) -> PlannedFile | None:
    return next((file for file in made.files if file.path == path), None)


def test_a_set_user_id_program_that_is_only_read_loses_the_bit() -> None:
    made = plan(seen(HELPER, "read", mode=0o4755))
    file = planned(made, HELPER)
    assert file is not None
    assert (file.mode, file.set_id) == (0o755, "")
    assert made.service.no_new_privileges


def test_one_that_is_executed_has_to_be_named() -> None:
    with pytest.raises(InputError, match=r"keeper runs /usr/lib/helper, which has the rights") as e:
        plan(seen(HELPER, "executed", mode=0o2755))
    assert f'set_user_id = {{ "{HELPER}" = "why" }}' in e.value.hint


def test_the_named_one_keeps_its_bit_and_the_reason() -> None:
    made = plan(seen(HELPER, "executed", mode=0o4755), workload=NAMED + small_world.WORKLOAD)
    file = planned(made, HELPER)
    assert file is not None
    assert (file.mode, file.set_id) == (0o4755, "it reads what only root may")
    assert not made.service.no_new_privileges


def test_a_folder_may_have_the_bit() -> None:
    made = plan(seen("/srv/mail", "listed", kind="directory", mode=0o2775))
    assert (folder := planned(made, "/srv/mail")) and folder.mode == 0o2775


def shell(*hows: Any, **more: Any) -> tuple[FileUse, FileUse]:
    link = FileUse(path="/usr/bin/sh", kind="symlink", target="dash")
    return link, seen("/usr/bin/dash", *hows, **more)


def test_a_shell_that_nobody_executes_stays_out_by_all_its_names() -> None:
    made = plan(*shell("read"))
    assert planned(made, "/usr/bin/dash") is planned(made, "/usr/bin/sh") is None
    assert {item.path: item.reason for item in made.left_out} == dict.fromkeys(
        ("/usr/bin/dash", "/usr/bin/sh"), "a shell; the profile does not show it executed"
    )


def test_a_shell_that_is_executed_is_there() -> None:
    made = plan(*shell("executed"))
    assert planned(made, "/usr/bin/dash")
    assert "/usr/bin/dash" not in {item.path for item in made.left_out}


def test_the_interpreter_of_what_is_executed_is_there_by_all_its_names() -> None:
    script = seen("/usr/lib/hook", "executed").model_copy(update={"interpreter": "/usr/bin/sh"})
    made = plan(script, *shell("read"))
    assert planned(made, "/usr/bin/dash") and planned(made, "/usr/bin/sh")


def test_what_the_workload_includes_is_there() -> None:
    link, dash = shell("read")
    made = plan(link, dash.model_copy(update={"origin": "user"}))
    assert planned(made, "/usr/bin/dash")
