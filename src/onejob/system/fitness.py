"""Whether this host is as large as a plan needs, before anything is started on it.

In a guest, and once more in a container, process 1 does the same (native/init/src/machine.rs).
"""

import os
import platform

from onejob.model.errors import LacksError
from onejob.model.plan import Plan

HINT = "run it on such a machine, or plan for this one: onejob build --hardware this"


def check_host(plan: Plan) -> None:
    """LacksError naming the dimension, what the plan needs and what this host has."""
    if platform.machine() != plan.architecture:
        raise lack("architecture", plan.architecture, platform.machine())
    processors = len(os.sched_getaffinity(0))
    needed = plan.machine.least or plan.machine.processors
    if processors < needed:
        raise lack("processors", str(needed), str(processors))
    memory_kib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    if memory_kib < plan.machine.memory_kib:
        raise lack("memory", f"{plan.machine.memory_kib} KiB", f"{memory_kib} KiB")


def lack(dimension: str, needed: str, there: str) -> LacksError:
    """The one sentence."""
    return LacksError(f"{dimension}: the plan needs {needed}, this host has {there}", HINT)
