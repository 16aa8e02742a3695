"""A service that is another user from the start: its ids, groups and folders."""

from typing import Any

import pytest

import small_world
from onejob.model.errors import InputError
from onejob.model.plan import Plan
from onejob.model.profile import Account, Group
from onejob.planner.plan import make_plan
from small_world import seen


def plan(**changes: Any) -> Plan:
    components = small_world.components()
    return make_plan(small_world.profile(**changes), small_world.hardware(), components)


ANOTHER_USER = small_world.WORKLOAD.replace(
    "ports = [80]",
    'ports = [80]\nuser = "keeper"\n'
    'folders = [{ path = "/run/keeper", user = "keeper", group = "keeper", mode = 0o2755 }]',
)
KEEPER = Account(name="keeper", uid=123, gid=124)


def test_a_service_that_is_another_user_from_the_start() -> None:
    made = plan(workload=ANOTHER_USER, accounts=(KEEPER,), groups=(Group(name="keeper", gid=124),))
    assert (made.service.user, made.service.group) == (123, 124)
    assert made.service.groups == ()
    folder = next(file for file in made.files if file.path == "/run/keeper")
    assert (folder.kind, folder.uid, folder.gid, folder.mode) == ("directory", 123, 124, 0o2755)
    # It was never root, so it did all that it did without; an image has no open low ports.
    assert [capability.name for capability in made.capabilities] == ["CAP_NET_BIND_SERVICE"]


def test_the_service_has_the_supplementary_groups_of_its_account() -> None:
    groups = (
        Group(name="keeper", gid=124), Group(name="ssl-cert", gid=130, members=("keeper", "web")),
        Group(name="adm", gid=4, members=("web",)),
    )  # fmt: skip
    read = (*small_world.FILES, seen("/etc/group", "read"))
    made = plan(workload=ANOTHER_USER, accounts=(KEEPER,), groups=groups, files=read)
    assert made.service.groups == (130,)
    (text,) = [file.text for file in made.files if file.path == "/etc/group"]
    assert "\nssl-cert:x:130:keeper,web\n" in text


@pytest.mark.parametrize("missing", ["accounts", "groups"])
def test_an_account_that_the_profile_does_not_define_is_refused(missing: str) -> None:
    known: dict[str, Any] = {"accounts": (KEEPER,), "groups": (Group(name="keeper", gid=124),)}
    with pytest.raises(InputError, match="'keeper'"):
        plan(workload=ANOTHER_USER, **{**known, missing: ()})
