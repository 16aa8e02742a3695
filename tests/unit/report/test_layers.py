"""The two layers: what lies where, with which rights, changed by whom."""

import pytest

import small_world
from onejob.model.errors import InputError
from onejob.model.plan import Plan
from onejob.model.profile import Profile
from onejob.planner.plan import make_plan
from onejob.report.layers import Entry, devices_table, entries_table, list_folder
from small_world import seen

FILES = (
    *small_world.FILES,
    seen("/var/lib/keeper/table", "created", "read", existed=False, kind="missing"),
    seen("/run/keeper.pid", "created", existed=False, kind="missing"),
)
PROFILE: Profile = small_world.profile(files=FILES)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(PROFILE, small_world.hardware(), small_world.components())


def names(plan: Plan, folder: str) -> dict[str, Entry]:
    return {entry.path: entry for entry in list_folder(plan, PROFILE, folder)}


def test_entries_of_one_directory_lie_on_different_devices(plan: Plan) -> None:
    found = names(plan, "/")
    assert found["/"].device.startswith("root (/dev/")
    assert found["/etc"].device.startswith("root (/dev/")
    assert found["/proc"].device == "kernel (proc)"
    assert found["/run"].device == "memory"
    assert names(plan, "/var/lib")["/var/lib/keeper"].device.startswith("data (/dev/")


def test_every_planned_path_is_listed_once_in_its_folder(plan: Plan) -> None:
    for file in plan.files:
        if file.path != "/":
            folder = file.path.rpartition("/")[0] or "/"
            listed = [entry.path for entry in list_folder(plan, PROFILE, folder)]
            assert listed.count(file.path) == 1


def test_what_the_service_makes_has_no_rights_yet_but_a_writer(plan: Plan) -> None:
    made = names(plan, "/run")["/run/keeper.pid"]
    assert (made.device, made.rights, made.writers) == ("memory", "", ("keeper",))
    assert made.reason.startswith("created by /usr/sbin/keeper")


def test_rights_are_as_ls_has_them(plan: Plan) -> None:
    program = names(plan, "/usr/sbin")["/usr/sbin/keeper"]
    assert program.rights == "-rwxr-xr-x root:root"
    assert program.writers == ()


def test_a_link_to_a_directory_is_followed(plan: Plan) -> None:
    link = next(file for file in plan.files if file.kind == "symlink")
    shown = names(plan, link.path.rpartition("/")[0] or "/")[link.path]
    assert shown.rights.endswith(f"-> {link.target}")


@pytest.mark.parametrize(
    ("folder", "near"), [("/usr/sbin/keeper", "/usr/sbin"), ("/no/where", "/"), ("etc", "service")]
)
def test_what_is_no_directory_is_refused(plan: Plan, folder: str, near: str) -> None:
    with pytest.raises(InputError) as refused:
        list_folder(plan, PROFILE, folder)
    assert near in f"{refused.value.what} {refused.value.hint}"


def test_the_whole_mapping_begins_with_the_root(plan: Plan) -> None:
    rows = devices_table(plan).rows
    assert rows[0][0] == "/"
    assert {row[0] for row in rows[1:]} == {mount.path for mount in plan.mounts}
    assert all("nosuid" in row[2] and "noexec" in row[2] for row in rows[1:])


def test_a_table_names_entries_and_their_folder(plan: Plan) -> None:
    table = entries_table("/etc", list_folder(plan, PROFILE, "/etc"))
    assert table.rows[0][0] == "/etc"
    assert all("/" not in row[0] for row in table.rows[1:])
