"""Each kind of decision: mounts, files, accounts, components, calls, capabilities."""

from typing import Any

import pytest

import small_world
from onejob.base.natives import data_path
from onejob.model.component import load_components
from onejob.model.errors import InputError
from onejob.model.hardware import Processors
from onejob.model.paths import resolve
from onejob.model.plan import Plan, PlannedFile
from onejob.model.profile import FileUse
from onejob.planner.plan import make_plan
from small_world import argument, call, component, seen

COMPONENTS = load_components(data_path("components"))
TARGETS = {
    "/lib": "usr/lib", "/usr/lib/a": "b", "/usr/lib/b": "/opt/../usr/lib/c", "/x": "y", "/y": "x",
    "/bin": "../usr/bin", "/deep/link": "../up/file",
}  # fmt: skip


def plan(machine: dict[str, Any] | None = None, **changes: Any) -> Plan:
    return make_plan(
        small_world.profile(**changes),
        small_world.hardware(**machine or {}),
        small_world.components(),
    )


def mounts(*files: FileUse) -> dict[str, str]:
    return {m.path: m.kind for m in plan(files=files).mounts if m.path not in PSEUDO}


def files(*extra: FileUse) -> dict[str, PlannedFile]:
    return {file.path: file for file in plan(files=(*small_world.FILES, *extra)).files}


PSEUDO = ("/proc", "/sys", "/dev", "/run/onejob/memory")


# --- mounts --------------------------------------------------------------------------------------


def test_written_folders_are_data_and_temporary_ones_are_memory() -> None:
    found = {m.path: m for m in plan().mounts}
    assert [(m.path, m.kind) for m in found.values()] == [
        ("/proc", "proc"), ("/sys", "sysfs"), ("/dev", "devtmpfs"), ("/run", "tmpfs"),
        ("/var/lib/keeper", "data"), ("/var/log/keeper", "data"), ("/run/onejob/memory", "tmpfs"),
    ]  # fmt: skip
    assert found["/var/lib/keeper"].reason.startswith("/var/lib/keeper/db written by ")
    assert found["/run"].mode == 0o755
    assert found["/run/onejob/memory"].mode == 0o755


def test_only_the_outermost_written_folder_is_mounted() -> None:
    inner = [seen(f"/srv/a/{name}", "written") for name in ("b/c/d", "b/e", "b.d/f", "b/c/g")]
    assert mounts(*inner) == {"/srv/a/b": "data", "/srv/a/b.d": "data"}


@pytest.mark.parametrize(
    "how", ["written", "appended", "created", "removed", "renamed-to", "bound"]
)
def test_each_way_to_change_a_folder_makes_it_writable(how: Any) -> None:
    assert mounts(seen("/srv/a/b", how)) == {"/srv/a": "data"}


@pytest.mark.parametrize("how", ["read", "mapped", "listed", "looked-up", "missing", "connected"])
def test_reading_makes_nothing_writable(how: Any) -> None:
    assert mounts(seen("/srv/a/b", how)) == {}


@pytest.mark.parametrize(
    "path", ["/x", "/etc/x", "/usr/x", "/usr/bin/x", "/usr/lib/x", "/var/x", "/var/lib/x"]
)
def test_folders_of_everybody_stay_read_only_with_a_warning(path: str) -> None:
    made = plan(files=(seen(path, "written"),))
    assert [m.path for m in made.mounts] == list(PSEUDO)
    assert any(w.startswith(f"{path} stays read-only") for w in made.warnings)


def test_devices_and_kernel_files_are_not_data() -> None:
    assert mounts(seen("/dev/null", "written"), seen("/proc/self/x", "written")) == {}
    assert mounts(seen("/dev/shm/x", "created")) == {"/dev/shm": "tmpfs"}


MEASURED = seen("/srv/spool", "looked-up", kind="directory")


@pytest.mark.parametrize(
    ("calls", "extra", "mount"),
    [
        ((call("statfs"),), (), "/srv/spool"),
        ((), (), "/srv/spool/in"),
        ((call("statfs", failed=2),), (), "/srv/spool/in"),
        ((call("statfs"),), (seen("/srv/spool/bin/x", "executed"),), "/srv/spool/in"),
    ],
)
def test_a_folder_whose_free_space_is_asked_for_is_writable_as_a_whole(
    calls: Any, extra: tuple[FileUse, ...], mount: str
) -> None:
    written = seen("/srv/spool/in/message", "created")
    made = plan(files=(MEASURED, written, *extra), calls=calls)
    assert [m.path for m in made.mounts if m.path not in PSEUDO] == [mount]


@pytest.mark.parametrize("path", ["/tmp/a/b", "/var/tmp/x"])
def test_temporary_folders_are_for_everybody(path: str) -> None:
    found = [m for m in plan(files=(seen(path, "created"),)).mounts if m.kind == "tmpfs"]
    (mount,) = [mount for mount in found if mount.path not in PSEUDO]
    assert (mount.path in path, mount.mode) == (True, 0o1777)


# --- files ---------------------------------------------------------------------------------------


def test_logs_are_left_behind_and_databases_are_carried() -> None:
    found = files()
    assert "/var/log/keeper/log" not in found
    assert found["/var/log/keeper"].kind == "directory"
    assert found["/var/lib/keeper/db"].origin == "host"
    assert (found["/var/lib/keeper/db"].uid, found["/var/lib/keeper/db"].gid) == (120, 121)


@pytest.mark.parametrize("extra", ["looked-up", "renamed-from", "changed", "removed"])
def test_a_rotated_log_is_still_a_log(extra: Any) -> None:
    assert "/srv/l/log" not in files(seen("/srv/l/log", "appended", extra))


def test_content_of_a_writable_folder_that_is_only_read_is_carried() -> None:
    found = files(seen("/srv/l/log", "appended"), seen("/srv/l/page", "read"))
    assert "/srv/l/page" in found


def test_what_lies_in_memory_is_not_in_the_root_but_its_folders_are() -> None:
    found = files(
        seen("/run/k/pid", "created"), seen("/run/k", "looked-up", kind="directory", uid=120)
    )
    assert "/run/k/pid" not in found
    assert found["/run/k"].uid == 120


def test_what_is_only_read_in_memory_is_its_first_content() -> None:
    found = files(seen("/run/k/pid", "created"), seen("/run/resolvconf/resolv.conf", "read"))
    assert found["/run/resolvconf/resolv.conf"].reasons[0].startswith("read by ")
    assert "/run/k/pid" not in found


def test_missing_files_devices_and_kernel_files_are_not_carried() -> None:
    found = files(
        seen("/srv/fifo", "read", kind="pipe"), seen("/srv/socket", "connected", kind="socket"),
        seen("/proc/version", "read"), seen("/sys/x", "read"), seen("/dev/sda", kind="device"),
    )  # fmt: skip
    assert not found.keys() & {
        "/srv/fifo", "/srv/socket", "/proc/version", "/sys/x", "/dev/sda", "/etc/missing.conf",
    }  # fmt: skip


def test_parents_of_everything_are_there() -> None:
    found = files(seen("/a/b/c/d", "read"))
    assert {"/", "/a", "/a/b", "/a/b/c"} <= found.keys()
    assert all(path == "/" or path.rpartition("/")[0] in {*found, ""} for path in found)
    assert list(found) == sorted(found)


def test_the_loaders_needs_are_reasons_along_every_link() -> None:
    found = files()
    needed = f"needed by {small_world.PROGRAM}"
    for path in ("/lib", "/usr/lib/libk.so", "/usr/lib/libk.so.1"):
        assert needed in found[path].reasons, path
    assert found["/usr/lib/libk.so"].target == "libk.so.1"
    assert found["/usr/lib/libk.so.1"].package == "libk1=1.0"


def test_includes_are_named_as_such() -> None:
    page = FileUse(path="/var/www/x", kind="file", origin="user")
    assert files(page)["/var/www/x"].reasons == ("named by the workload's include",)


def test_the_list_of_hosts_has_the_systems_own_name() -> None:
    made = files(seen("/etc/hosts", "read", sha256="ab" * 32))
    assert made["/etc/hosts"].text == "\n127.0.1.1 keeper\n"
    assert "127.0.1.1 keeper" in made["/etc/hosts"].reasons[-1]
    assert "/etc/hosts" not in files()  # whoever never looks into it does without


def test_secret_files_are_warned_of() -> None:
    made = plan()
    assert [w for w in made.warnings if "/usr/share/keeper/key" in w]
    assert not [w for w in made.warnings if "keeper.conf" in w]


def test_the_loader_cache_is_made_anew() -> None:
    cache = files(seen("/etc/ld.so.cache", "read", size=20000))["/etc/ld.so.cache"]
    assert (cache.origin, cache.size, cache.sha256) == ("ldconfig", 0, "")


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("/lib/a", ["/lib", "/usr/lib/a", "/usr/lib/b", "/usr/lib/c"]),
        ("/opt/bin/../x.so", ["/opt/x.so"]),
        ("/lib/../etc", ["/lib", "/usr/etc"]),
        ("/bin/sh", ["/bin", "/usr/bin/sh"]),
        ("/deep/link", ["/deep/link", "/up/file"]),
        ("/x", ["/x", "/y"]),
        ("/../..", ["/"]),
        ("/none", ["/none"]),
    ],
)
def test_links_are_followed(path: str, steps: list[str]) -> None:
    assert resolve(path, TARGETS) == steps


# --- accounts ------------------------------------------------------------------------------------


def test_only_accounts_of_the_profile_exist_and_nobody_logs_in() -> None:
    file = files()["/etc/passwd"]
    rows = [line.split(":") for line in file.text.splitlines()]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("root", "0", "0"),
        ("keep", "120", "121"),
    ]
    assert {row[6] for row in rows} <= {"/nonexistent", "/usr/sbin/nologin", "/sbin/nologin"}
    assert (file.origin, file.mode) == ("text", 0o644)
    assert "/etc/group" not in files()  # nobody asked for it


def test_no_account_has_a_usable_password() -> None:
    text = files(seen("/etc/shadow", "read", mode=0o640))["/etc/shadow"].text
    assert {line.split(":")[1] for line in text.splitlines()} <= {"*", "!", "!*"}


# --- components ----------------------------------------------------------------------------------


def options(made: Plan) -> dict[str, str]:
    return {option.name: option.value for option in made.kernel_options}


def test_what_asks_for_components() -> None:
    made = plan()
    assert [text.partition(":")[0] for text in made.components] == [
        "base", "ether", "ext4", "net", "virtio-block",
    ]  # fmt: skip
    assert options(made) == {
        "BINFMT_ELF": "y", "ETHERNET": "y", "EXT4_FS": "y", "INET": "y", "IPV6": "n",
        "VIRTIO_BLK": "y",
    }  # fmt: skip
    assert [setting.name for setting in made.settings] == ["net.ipv4.tcp_timestamps"]
    assert [argument.value for argument in made.kernel_arguments] == ["panic=-1"]


def test_a_wanted_option_wins_over_one_that_is_left_out() -> None:
    made = plan(arguments=(argument("socket", 10, 1, 0),))
    assert options(made)["IPV6"] == "y"


def test_a_socket_that_always_failed_asks_for_nothing() -> None:
    assert "INET" not in options(plan(arguments=(argument("socket", 10, 1, 0, failed=2),)))
    assert "INET" not in options(plan(arguments=(argument("socket"),)))  # no values at all


def test_processors_calls_and_devices_ask() -> None:
    two = {"processors": Processors(count=2, model="")}
    assert options(plan(two))["SMP"] == "y"
    assert options(plan(calls=(call("inotify_init1"),)))["INOTIFY_USER"] == "y"
    assert "VIRTIO_BLK" not in options(plan({"devices": ()}))
    assert "EXT4_FS" not in options(plan(files=()))


@pytest.mark.parametrize(
    ("advice", "failed", "there"), [(14, 0, True), (14, 2, False), (4, 0, False)]
)
def test_huge_pages_are_for_who_asks_for_them(advice: int, failed: int, there: bool) -> None:
    """redis reads whether they are on, to warn of them."""
    huge = next(each for each in COMPONENTS if each.name == "transparent-hugepages")
    looked = seen("/sys/kernel/mm/transparent_hugepage/enabled", "read")
    asked = argument("madvise", advice, failed=failed)
    profile = small_world.profile(files=(looked,), arguments=(asked,))
    made = make_plan(profile, small_world.hardware(), (*small_world.components(), huge))
    assert ("TRANSPARENT_HUGEPAGE" in options(made)) == there


@pytest.mark.parametrize("names", [(), ("epoll_wait",), ("eventfd2", "quotactl")])
def test_who_waits_how_makes_no_other_kernel(names: tuple[str, ...]) -> None:
    """Options on which every object depends are in all kernels, or services would share none."""
    profile = small_world.profile(calls=tuple(map(call, names)))
    made = make_plan(profile, small_world.hardware(), COMPONENTS)
    assert {options(made).get(name) for name in ("EPOLL", "EVENTFD", "QUOTA")} == {"y"}
    assert {row.name for row in made.calls} >= set(names)
    assert not {"epoll_wait", "eventfd2", "quotactl"} & {r.name for r in made.calls} - set(names)


def chain(length: int) -> tuple[Any, ...]:
    first = component("c0", "asked_by = { always = true }")
    links = [
        component(f"c{i}", f'asked_by = {{ components = ["c{i - 1}"] }}') for i in range(1, length)
    ]
    return (*reversed(links), first)


def test_components_ask_for_components_however_far() -> None:
    made = make_plan(small_world.profile(), small_world.hardware(), chain(30))
    assert len(made.components) == 30


def test_components_that_only_ask_for_each_other_stay_out() -> None:
    pair = [
        component("a", 'asked_by = { components = ["b"] }'),
        component("b", 'asked_by = { components = ["a"] }'),
    ]
    made = make_plan(small_world.profile(), small_world.hardware(), pair)
    assert made.components == ()


def test_components_that_contradict_each_other_are_named() -> None:
    texts = [
        f'asked_by = {{ always = true }}\n[[option]]\nname = "HZ"\nvalue = "{v}"\nwhy = "yes"'
        for v in (100, 250)
    ]
    pair = [component(name, text) for name, text in zip(("slow", "fast"), texts, strict=True)]
    with pytest.raises(InputError, match=r"contradict each other on HZ: 250, 100 in slow"):
        make_plan(small_world.profile(), small_world.hardware(), pair)


def test_a_component_with_a_call_that_is_none_is_refused() -> None:
    wrong = component("w", 'asked_by = { always = true }\n[[call]]\nname = "reed"\nwhy = "typo"')
    with pytest.raises(InputError, match=r"'reed' is no system call.*\[w\]"):
        make_plan(small_world.profile(), small_world.hardware(), [wrong])


# --- calls, capabilities, memory -----------------------------------------------------------------


def test_calls_are_those_made_and_those_of_components() -> None:
    made = plan()
    assert [decision.name for decision in made.calls] == [
        "read", "write", "socket", "bind", "listen", "execve", "chown", "setuid",
        "restart_syscall",
    ]  # fmt: skip
    assert made.calls[0].reason == f"made 2 times by {small_world.PROGRAM} in serve"
    assert made.calls[-1].reason == "the kernel makes it [base]"
