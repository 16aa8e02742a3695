"""What an image asks of whoever runs it as a container: process 1, its rights, data, limits."""

from onejob.model.errors import InputError
from onejob.model.linux_names import CAPABILITIES
from onejob.model.plan import Plan

DATA = "/.onejob/data"
INIT = "onejob-init"
# Process 1 itself, which is not the service's.
TASKS_BESIDE_SERVICE = 16

# Process 1 mounts, seeds with owners, signals, looks at processes, lowers limits and identity, and
# has logs only extended.
_INIT_NEEDS = {
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "SYS_PTRACE", "SYS_ADMIN", "SYS_RESOURCE", "LINUX_IMMUTABLE",
}  # fmt: skip


def init_path(plan: Plan) -> str:
    """Where process 1 lies in the root."""
    for file in plan.files:
        if file.origin == "native" and file.native == INIT:
            return file.path
    raise InputError(f"the plan of {plan.name} has no process 1", "plan it again")


def has_data(plan: Plan) -> bool:
    """Whether the service keeps anything."""
    return any(mount.kind == "data" for mount in plan.mounts)


def needed_capabilities(plan: Plan) -> tuple[str, ...]:
    """What process 1 needs and what it leaves to the service, without ``CAP_``, by number."""
    wanted = {capability.number for capability in plan.capabilities}
    if plan.sizes("schedule"):
        wanted.add(CAPABILITIES.index("SYS_NICE"))
    return tuple(
        name for number, name in enumerate(CAPABILITIES) if name in _INIT_NEEDS or number in wanted
    )


def task_limit(plan: Plan) -> int:
    """Processes and threads of the whole container."""
    return int(plan.sizes("cgroup")["tasks"]) + TASKS_BESIDE_SERVICE
