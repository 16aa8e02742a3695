"""The OCI bundle of an image: what runc is told. The root and process 1 do the rest.

Sources: the OCI runtime specification 1.0, config.md and config-linux.md.
"""

from pathlib import Path
from typing import Any

from onejob.model.container import DATA, has_data, init_path, needed_capabilities, task_limit
from onejob.model.linux_names import CAPABILITIES
from onejob.model.plan import Plan

# The service is root without a user namespace: these would be the host's.
_MASKED = (
    "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_PSEUDO = {
    "proc": ("proc", ["nosuid", "noexec", "nodev"]),
    "sysfs": ("sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    "devtmpfs": ("tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
}


def bundle_config(
    plan: Plan,
    root: Path,
    data: Path,
    network: Path | None,
    cgroup: str,
    limits: bool,
    *,
    driven: bool = False,
) -> dict[str, Any]:
    """config.json: `root` is the mounted root, `data` a folder, `network` None for the host's.

    `limits` says whether cgroup limits can be set here; `driven` as for host_instance.
    """
    return {
        "ociVersion": "1.0.2",
        "hostname": plan.service.hostname,
        "root": {"path": str(root), "readonly": True},
        "process": _process(plan, driven),
        "mounts": _mounts(plan, data),
        "linux": {
            "namespaces": _namespaces(network),
            "cgroupsPath": cgroup,
            "resources": _resources(plan) if limits else _devices(),
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
        },
    }


def _process(plan: Plan, driven: bool) -> dict[str, Any]:
    environment = ["container=onejob", "ONEJOB_CONTROL=fd:3"]
    if driven:
        environment.append("ONEJOB_DRIVEN=yes")
    if has_data(plan):
        environment.append("ONEJOB_DATA=dir")
    names = _capabilities(plan)
    return {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "cwd": "/",
        "args": [init_path(plan)],
        "env": environment,
        "noNewPrivileges": False,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), names),
    }


def _capabilities(plan: Plan) -> list[str]:
    held = _held()
    return [
        f"CAP_{name}" for name in needed_capabilities(plan) if held >> CAPABILITIES.index(name) & 1
    ]


def _held() -> int:
    """What this process may pass on, as a bit mask (proc(5), CapBnd)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16)
    return 0


def _mounts(plan: Plan, data: Path) -> list[dict[str, Any]]:
    mounts = []
    for mount in plan.mounts:
        if mount.kind in _PSEUDO:
            kind, options = _PSEUDO[mount.kind]
            entry = {"destination": mount.path, "type": kind, "source": kind, "options": options}
            mounts.append(entry)
    if has_data(plan):
        # With the logs' share, which may be mounted in it.
        options = ["rbind", "rw", "nosuid", "nodev", "noexec"]
        mounts.append(
            {"destination": DATA, "type": "bind", "source": str(data), "options": options}
        )
    return mounts


def _namespaces(network: Path | None) -> list[dict[str, str]]:
    own = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    return own if network is None else [*own, {"type": "network", "path": str(network)}]


def _devices() -> dict[str, Any]:
    return {"devices": [{"allow": False, "access": "rwm"}]}


def _resources(plan: Plan) -> dict[str, Any]:
    memory = plan.machine.memory_kib * 1024
    pids = {"limit": task_limit(plan)}
    return {**_devices(), "memory": {"limit": memory}, "pids": pids}


def can_limit() -> bool:
    """Whether the memory and pids controllers of this host can be written (v1 or v2)."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        return _writable(top / "cgroup.subtree_control")
    return all(_writable(top / name / "cgroup.procs") for name in ("memory", "pids"))


def _writable(path: Path) -> bool:
    try:
        with path.open("r+b"):
            return True
    except OSError:
        return False
