"""The dimensions of a plan as a table: each size with what it was decided from, and why."""

from onejob.model.plan import Dimension, Plan
from onejob.report.overview import Table

_HOLDERS = {
    "machine": "machine",
    "cgroup": "container",
    "limit": "each process",
    "sysctl": "kernel, set at boot",
    "schedule": "the service",
    "share": "data partition",
    "kernel": "kernel, built in",
}


def dimensions_table(plan: Plan) -> Table:
    """One row for each."""
    rows = tuple(
        (
            each.name,
            f"{each.value} {each.unit}".strip(),
            _HOLDERS[each.kind],
            _source(each),
            each.reason,
        )
        for each in plan.dimensions
    )
    heads = ("dimension", "size", "held by", "decided from", "reason")
    return Table(f"{plan.name}: everything that has a size", heads, rows)


def _source(dimension: Dimension) -> str:
    head_room = f", {dimension.head_room}" if dimension.head_room else ""
    return dimension.source + head_room
