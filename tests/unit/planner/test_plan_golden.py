"""The whole plan of a small service: as it was, with a reason for everything, a pure function."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import small_world
from onejob.model.errors import InputError
from onejob.model.hardware import Disk
from onejob.model.jsonfile import to_json
from onejob.model.plan import Plan
from onejob.model.profile import Profile
from onejob.planner.choices import Choices
from onejob.planner.plan import make_plan


def plan(**changes: Any) -> Plan:
    return make_plan(
        small_world.profile(**changes), small_world.hardware(), small_world.components()
    )


def test_the_plan_is_as_it_was() -> None:
    small_world.check_golden("keeper.plan.json", to_json(plan()))


def _reasons(value: object) -> list[object]:
    """What every decision gives as its reason or reasons."""
    if isinstance(value, list | tuple):
        return [found for item in value for found in _reasons(item)]
    if not isinstance(value, dict):
        return []
    found = [item for key, item in value.items() if key in ("reason", "reasons")]
    return found + [reason for item in value.values() for reason in _reasons(item)]


def test_every_decision_has_a_reason() -> None:
    made = plan()
    reasons = _reasons(made.model_dump())
    decided = (
        made.kernel_options, made.kernel_arguments, made.files, made.mounts, made.calls,
        made.memory, made.dimensions, made.settings, made.capabilities, made.left_out, made.grants,
        made.network.ports, made.argument_checks, made.answered_calls, made.logs, made.absent,
    )  # fmt: skip
    # And the root's format, who serves malloc, and how often the service is started again.
    assert len(reasons) == sum(map(len, decided)) + 4
    for reason in reasons:
        for text in reason if isinstance(reason, tuple) else (reason,):
            assert isinstance(text, str)
            assert len(text.strip()) >= 3
        assert reason


FACTS = ("calls", "arguments", "files", "allocations", "accounts", "groups", "system_calls")


def shuffled(profile: Profile, rng: random.Random) -> Profile:
    """The same facts in another order."""
    changes: dict[str, Any] = {}
    for name in FACTS:
        facts = list(getattr(profile, name))
        rng.shuffle(facts)
        changes[name] = tuple(facts)
    turned = (f.model_copy(update={"uses": f.uses[::-1]}) for f in changes["files"])
    return profile.model_copy(update={**changes, "files": tuple(turned)})


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_same_facts_same_bytes(rng: random.Random) -> None:
    components = list(small_world.components())
    rng.shuffle(components)
    profile = shuffled(small_world.profile(), rng)
    made = make_plan(profile, small_world.hardware(), components)
    assert to_json(made) == to_json(plan())


def test_nothing_that_was_given_is_changed() -> None:
    profile, before = small_world.profile(), small_world.profile()
    make_plan(profile, small_world.hardware(), small_world.components())
    assert profile == before


def test_lost_events_are_refused_unless_accepted() -> None:
    profile = small_world.profile(events_lost=3)
    machine, components = small_world.hardware(), small_world.components()
    with pytest.raises(InputError, match="3 events were lost") as caught:
        make_plan(profile, machine, components)
    assert "--accept-lost-events" in caught.value.hint
    assert make_plan(profile, machine, components, Choices(accept_lost=True)).calls == plan().calls


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no workload": ({"workload": ""}, "names no service"),
    "no program": ({"program": ""}, "names no service"),
    "broken workload": ({"workload": "name = 1"}, "workload in the profile:1"),
    "name that leads elsewhere": ({"name": "../../etc/x"}, "profile of '../../etc/x'"),
    "a call that is none": ({"calls": (small_world.call("fopen"),)}, "'fopen' is no system call"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_profiles_that_cannot_be_planned(name: str) -> None:
    changes, words = REFUSED[name]
    with pytest.raises(InputError) as caught:
        plan(**changes)
    assert words in caught.value.what


def test_hardware_without_a_disk_is_refused() -> None:
    machine = small_world.hardware(disks=(Disk(name="sda", size_bytes=1, removable=True),))
    with pytest.raises(InputError, match="no disk for the root"):
        make_plan(small_world.profile(), machine, small_world.components())


def test_hardware_of_another_architecture_is_refused() -> None:
    machine = small_world.hardware(architecture="aarch64")
    with pytest.raises(InputError, match="aarch64"):
        make_plan(small_world.profile(), machine, small_world.components())


def test_the_service_is_started_as_it_was_profiled() -> None:
    service = plan().service
    assert service.command == (small_world.PROGRAM, "-f")
    assert service.environment[0] == "MODE=small"
    assert service.environment[1].startswith("PATH=/usr/local/sbin:")
    assert (service.stop_signal, service.stop_timeout_ms) == (3, 5000)
    assert service.no_new_privileges
