"""Which capabilities the service keeps: from calls, files, ports, and what the kernel granted."""

from typing import Any

import small_world
from onejob.model.profile import Account, CapabilityUse, Provenance
from onejob.planner.plan import make_plan
from small_world import argument, call


def capabilities(**changes: Any) -> set[str]:
    profile = small_world.profile(**changes)
    made = make_plan(profile, small_world.hardware(), small_world.components())
    return {capability.name for capability in made.capabilities}


def test_capabilities_follow_from_calls_that_succeeded() -> None:
    assert capabilities() >= {"CAP_CHOWN", "CAP_FOWNER", "CAP_NET_BIND_SERVICE"}
    assert "CAP_SETUID" not in capabilities()  # it always failed
    assert capabilities(calls=(), arguments=(), accounts=()) == set()


def test_a_high_port_needs_no_capability() -> None:
    assert "CAP_NET_BIND_SERVICE" not in capabilities(arguments=(argument("bind", 2, 8080),))
    assert "CAP_NET_BIND_SERVICE" not in capabilities(arguments=(argument("bind", 1, 0),))
    assert "CAP_NET_BIND_SERVICE" not in capabilities(
        arguments=(argument("bind", 2, 80, failed=2),)
    )


def test_root_alone_needs_no_override() -> None:
    assert "CAP_DAC_OVERRIDE" not in capabilities(accounts=(Account(name="root", uid=0, gid=0),))
    assert "CAP_DAC_OVERRIDE" in capabilities()


def asked(name: str, count: int = 3, refused: int = 0) -> CapabilityUse:
    program = small_world.PROGRAM
    return CapabilityUse(program=program, drill="serve", name=name, count=count, refused=refused)


def test_a_capability_that_the_kernel_never_granted_is_not_kept() -> None:
    rows = (asked("CAP_CHOWN"), asked("CAP_FOWNER", count=2, refused=2), asked("CAP_SYS_ADMIN"))
    found = capabilities(capabilities=rows)
    assert found == {"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}


def test_whoever_mounts_may_go_on_to() -> None:
    rows = (asked("CAP_SYS_ADMIN"),)
    assert "CAP_SYS_ADMIN" in capabilities(calls=(call("mount"),), capabilities=rows)
    assert "CAP_SYS_ADMIN" not in capabilities(calls=(call("mount", failed=2),), capabilities=rows)


def test_reading_the_files_of_others_needs_no_right_to_write_them() -> None:
    found = capabilities(capabilities=(asked("CAP_DAC_READ_SEARCH"),))
    assert "CAP_DAC_READ_SEARCH" in found
    assert "CAP_DAC_OVERRIDE" not in found


def test_what_a_partial_profile_says_of_capabilities_is_not_all() -> None:
    provenance = Provenance(
        onejob="1", machine="x86_64", kernel="6.12", libc="", distribution="", backend="import",
        partial="imported",
    )  # fmt: skip
    rows = (asked("CAP_SYS_ADMIN"),)
    assert "CAP_CHOWN" in capabilities(capabilities=rows, provenance=provenance)
    assert "CAP_CHOWN" not in capabilities(capabilities=rows)
