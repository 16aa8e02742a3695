"""A host that is too small for a plan, or of another kind, is named before anything starts."""

import os

import pytest

from built_plans import make_plan
from onejob.model.errors import LacksError
from onejob.system.fitness import check_host


def test_a_host_as_large_as_the_plan_is_fit() -> None:
    check_host(make_plan())


@pytest.mark.parametrize(
    ("name", "needed", "there"),
    [
        ("processors", 4096, str(len(os.sched_getaffinity(0)))),
        ("memory_kib", 1 << 40, " KiB"),
    ],
)
def test_what_the_host_lacks_is_named(name: str, needed: int, there: str) -> None:
    machine = make_plan().machine.model_copy(update={name: needed})
    with pytest.raises(LacksError) as caught:
        check_host(make_plan(machine=machine))
    dimension = name.partition("_")[0]
    assert caught.value.what.startswith(f"{dimension}: the plan needs {needed}")
    assert caught.value.what.endswith(there)
    assert "--hardware this" in caught.value.hint


def test_a_plan_for_another_architecture_is_refused() -> None:
    plan = make_plan().model_copy(update={"architecture": "riscv64"})
    with pytest.raises(LacksError, match=r"^architecture: the plan needs riscv64, this host has "):
        check_host(plan)
