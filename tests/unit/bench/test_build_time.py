"""build-time changes one leaf option, whichever way that is a change."""

from onejob.bench.build_time import toggled
from onejob.model.plan import KernelOption

LEAF = KernelOption(name="LEAF", value="y", reason="")
OTHER = KernelOption(name="OTHER", value="y", reason="")


def test_a_leaf_is_added_or_taken_away() -> None:
    assert toggled((OTHER,), LEAF) == (OTHER, LEAF)
    assert toggled((OTHER, LEAF), LEAF) == (OTHER,)
