"""What a CD keeps is in memory: as much as the plan asks for, and the machine is to have it."""

import pytest

from built_plans import DIMENSIONS, dimension, make_plan
from onejob.exporter.iso import LEAST_DATA_KIB, data_kib
from onejob.model.plan import Mount

DATA = Mount(path="/var/lib", kind="data", reason="test")


@pytest.mark.parametrize(("asked", "given"), [(0, LEAST_DATA_KIB), (239 * 1024, 239 * 1024)])
def test_data_in_memory_is_as_large_as_planned(asked: int, given: int) -> None:
    more = (dimension("share", "data", asked),) if asked else ()
    plan = make_plan(mounts=(DATA,), dimensions=(*DIMENSIONS, *more))
    assert data_kib(plan) == given
    assert data_kib(make_plan(mounts=(), dimensions=(*DIMENSIONS, *more))) == 0
