"""What process 1 reads at boot: /.onejob/instance.json, made of the plan."""

import json
from collections.abc import Mapping
from typing import Any

from onejob.builder.domains import domains_of
from onejob.builder.memory import COUNTS_BYTES, counted_programs
from onejob.model.linux_names import POLICIES
from onejob.model.plan import Mount, Plan, Ready
from onejob.model.plan_policy import CheckedCall, MatrixRow, Network
from onejob.model.processor_list import parse_list
from onejob.model.syscalls import call_number

INSTANCE = "/.onejob/instance.json"
FILTERS = "/.onejob/filters.bpf"
DATA = "/.onejob/data"
INIT = "onejob-init"

# The number of a filter's first instruction, and how many it has.
Place = tuple[int, int]

# The calls of a row in one phase, and those of them whose arguments are checked.
Cell = tuple[tuple[str, ...], tuple[CheckedCall, ...]]


def cells_of(row: MatrixRow) -> tuple[Cell, Cell]:
    """Boot and serve; the second is empty where no process was seen to settle."""
    return (row.boot, row.boot_arguments), (row.serve, row.serve_arguments)


def instance_text(plan: Plan, policy: Place, places: Mapping[Cell, Place]) -> str:
    """The contract with native/init, which refuses a key that it does not know.

    `policy` and `places`: where in FILTERS the policy lies, and the filter of each cell of the
    matrix, by its calls. Empty where the matrix is not enforced.
    """
    instance = _instance(plan) | {"policy": policy}
    if plan.landlock != "none":
        instance["landlock"] = {
            "required": plan.landlock == "required",
            "domains": domains_of(plan.grants, _init_path(plan)),
        }
    if plan.share_kib:
        instance["share_kib"] = plan.share_kib
    if plan.core_files:
        instance["core_files"] = (plan.core_files.most, plan.core_files.kib)
    if plan.logs:
        instance["logs"] = [(log.path, log.changes) for log in plan.logs]
    if places:
        instance["rows"] = [_row(row, places) for row in plan.matrix]
        instance |= _settling(plan)
    if files := counted_programs(plan):
        instance["counts"] = (plan.memory_manager.counts, files, COUNTS_BYTES)
    return json.dumps(instance, ensure_ascii=False, separators=(",", ":")) + "\n"


def _settling(plan: Plan) -> dict[str, Any]:
    names = plan.service.settling
    return {"settling": [call_number(name) for name in names]} if names else {}


def _init_path(plan: Plan) -> str:
    return next((file.path for file in plan.files if file.native == INIT), "")


def _row(row: MatrixRow, places: Mapping[Cell, Place]) -> dict[str, Any]:
    """Without `serve` where no process was seen to settle."""
    boot, serve = cells_of(row)
    more = {"serve": places[serve]} if row.serve else {}
    return {"program": row.program, "role": row.role, "boot": places[boot], **more}


def _instance(plan: Plan) -> dict[str, Any]:
    service = plan.service
    return {
        "format": 1,
        "name": plan.name,
        "command": service.command,
        "environment": service.environment,
        "directory": service.directory,
        "user": service.user,
        "group": service.group,
        "groups": service.groups,
        "hostname": service.hostname,
        "mounts": [_mount(mount) for mount in plan.mounts],
        "machine": {
            "processors": int(plan.sizes("machine")["processors"]),
            "memory_kib": int(plan.sizes("machine")["least memory"]),
        },
        "limits": [
            {"resource": name, "soft": int(value), "hard": int(value)}
            for name, value in plan.sizes("limit").items()
        ],
        "schedule": _schedule(plan.sizes("schedule")),
        "sysctls": [{"name": s.name, "value": s.value} for s in plan.settings],
        "sizes": [{"name": n, "value": v} for n, v in plan.sizes("sysctl").items()],
        "stop_signal": service.stop_signal,
        "stop_timeout_ms": service.stop_timeout_ms,
        "no_new_privileges": service.no_new_privileges,
        "capabilities": [capability.number for capability in plan.capabilities],
        **({"network": _network(plan.network)} if plan.network else {}),
        "denied": plan.denied,
        **({"administrator": plan.administrator.key} if plan.administrator else {}),
        **({"ready": _ready(plan.ready, service.ports)} if plan.ready else {}),
        **({"job": {"after": plan.job.after, "input": plan.job.input}} if plan.job else {}),
        **({"restart": plan.restart.model_dump(exclude={"reason"})} if plan.restart else {}),
    }


def _ready(ready: Ready, ports: tuple[int, ...]) -> dict[str, Any]:
    return {"within_ms": ready.within_ms, "ports": ports}


def _schedule(sizes: Mapping[str, str]) -> dict[str, Any]:
    """Only what the plan gives; policies by their number."""
    found: dict[str, Any] = {}
    if "policy" in sizes:
        policy, _, priority = sizes["policy"].partition(" ")
        found |= {"policy": POLICIES.index(policy), "priority": int(priority or 0)}
    if "nice" in sizes:
        found["nice"] = int(sizes["nice"])
    if "affinity" in sizes:
        found["processors"] = sorted(parse_list(sizes["affinity"]))
    return found


def _network(network: Network) -> dict[str, Any]:
    ports = [{"use": port.use, "port": port.port} for port in network.ports]
    return {"restricted": network.restricted, "ports": ports}


def _mount(mount: Mount) -> dict[str, Any]:
    """Path and kind; the rest only where the plan gives it."""
    words: dict[str, Any] = {"path": mount.path, "kind": mount.kind}
    words |= {"read_only": True} if mount.read_only else {}
    words |= {"devices": mount.devices} if mount.devices else {}
    words |= {"block_devices": True} if mount.block_devices else {}
    words |= {"share": True} if mount.share else {}
    sizes = {"size_kib": mount.size_kib, "mode": mount.mode}
    return {**words, **{key: value for key, value in sizes.items() if value is not None}}
