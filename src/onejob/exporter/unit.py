"""The systemd unit of an image: what the plan allows, as systemd's own directives.

Sources: systemd.exec(5), systemd.resource-control(5), systemd.kill(5), systemd.syntax(7).
"""

import signal
from collections.abc import Iterator

from onejob.model.linux_names import POLICIES, family_name
from onejob.model.plan import Mount, Plan
from onejob.model.processor_list import parse_list

STATE = "/var/lib/onejob"
_WRITE, _EXECUTE = 2, 4  # PROT_WRITE, PROT_EXEC
_HARMLESS_DEVICES = {
    f"/dev/{name}" for name in ("full", "null", "random", "tty", "urandom", "zero")
}
# Always, with what it keeps a service from.
_HARDENING = {
    "ProtectSystem": "strict",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateMounts": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "KeyringMode": "private",
    "RemoveIPC": "yes",
    "DevicePolicy": "closed",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "MountAPIVFS": "yes",
}


def unit_text(plan: Plan, kept: tuple[str, ...]) -> str:
    """The unit; `kept` are the folders that lie on the host, below STATE."""
    service = [
        *_service(plan),
        *_restart(plan),
        *_mounts(plan, kept),
        *_limits(plan),
        *_restrictions(plan),
    ]
    lines = [f"{name}={value}" for name, value in service]
    lines += [f"{name}={value}" for name, value in _HARDENING.items()]
    return "\n".join(
        (
            "[Unit]",
            f"Description={escaped(plan.name)}, as its profile says",
            "After=network.target",
            *_start_limit(plan),
            "",
            "[Service]",
            *lines,
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )


def escaped(word: str) -> str:
    """As it is, though it may have systemd's specifiers."""
    return word.replace("%", "%%")


def quoted(word: str) -> str:
    """One word of a command line, whatever is in it."""
    text = escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return '"' + text.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _service(plan: Plan) -> Iterator[tuple[str, str]]:
    service = plan.service
    yield "Type", "exec"
    yield "ExecStart", " ".join(map(quoted, service.command))
    for each in service.environment:
        yield "Environment", quoted(each).replace("$$", "$")
    yield "WorkingDirectory", escaped(service.directory)
    if service.user or service.group:
        yield "User", str(service.user)
        yield "Group", str(service.group)
    if service.groups:
        yield "SupplementaryGroups", " ".join(map(str, service.groups))
    yield "KillMode", "mixed"
    yield "KillSignal", signal.Signals(service.stop_signal).name
    yield "TimeoutStopSec", f"{service.stop_timeout_ms}ms"


def _restart(plan: Plan) -> Iterator[tuple[str, str]]:
    """systemd's rests do not double, so it is the first one each time."""
    if plan.restart is not None:
        yield "Restart", "on-failure"
        yield "RestartSec", f"{plan.restart.first_ms}ms"


def _start_limit(plan: Plan) -> list[str]:
    """As many starts in a row as the plan has."""
    if plan.restart is None:
        return []
    each = plan.restart.first_ms + plan.restart.steady_ms
    interval = (plan.restart.attempts + 1) * each
    return [f"StartLimitIntervalSec={interval}ms", f"StartLimitBurst={plan.restart.attempts + 1}"]


def _mounts(plan: Plan, kept: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Kept folders from the host, the others in memory; nothing in them can be executed."""
    for path in kept:
        yield "BindPaths", f"{STATE}/{escaped(plan.name)}{escaped(path)}:{escaped(path)}"
    changed = [mount for mount in plan.mounts if mount.kind in ("data", "tmpfs")]
    for mount in changed:
        if mount.path not in kept and not _is_private_temporary(mount):
            options = ["nosuid", "nodev", "noexec"]
            options += [f"size={mount.size_kib}k"] if mount.size_kib else []
            options += [f"mode={mount.mode:04o}"] if mount.mode is not None else []
            yield "TemporaryFileSystem", f"{escaped(mount.path)}:{','.join(options)}"
    if changed:
        yield "NoExecPaths", " ".join(escaped(mount.path) for mount in changed)
    needed = {d for mount in plan.mounts for d in mount.devices} - _HARMLESS_DEVICES
    yield "PrivateDevices", "no" if needed else "yes"
    for device in sorted(needed):
        yield "DeviceAllow", f"{escaped(device)} rw"


def _is_private_temporary(mount: Mount) -> bool:
    """PrivateTmp makes these."""
    return mount.path in ("/tmp", "/var/tmp")


def _limits(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "MemoryMax", f"{plan.machine.memory_kib}K"
    yield "TasksMax", plan.sizes("cgroup")["tasks"]
    for name, value in plan.sizes("limit").items():
        yield f"Limit{name.upper()}", value
    schedule = plan.sizes("schedule")
    if "nice" in schedule:
        yield "Nice", schedule["nice"]
    if "policy" in schedule:
        policy, _, priority = schedule["policy"].partition(" ")
        if policy in POLICIES:
            yield "CPUSchedulingPolicy", policy
        if priority and priority != "0":
            yield "CPUSchedulingPriority", priority
    if "affinity" in schedule:
        yield "CPUAffinity", " ".join(map(str, sorted(parse_list(schedule["affinity"]))))


def _restrictions(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "NoNewPrivileges", "yes" if plan.service.no_new_privileges else "no"
    names = " ".join(capability.name for capability in plan.capabilities)
    yield "CapabilityBoundingSet", names
    if plan.service.user:
        yield "AmbientCapabilities", names
    calls = {call.name for call in plan.calls}
    yield "SystemCallFilter", " ".join(sorted(calls))
    if (families := _values(plan, "socket", 0)) is not None:
        allowed = " ".join(f"AF_{family_name(number).upper()}" for number in sorted(families))
        yield "RestrictAddressFamilies", allowed or "none"
    if plan.network and "listen" in plan.network.restricted:
        yield "SocketBindDeny", "any"
        for port in plan.network.ports:
            if port.use == "listen" and port.port:
                yield "SocketBindAllow", f"tcp:{port.port}"
    yield "RestrictNamespaces", "no" if calls & {"unshare", "setns"} else "yes"
    yield "RestrictRealtime", "no" if "policy" in plan.sizes("schedule") else "yes"
    yield "MemoryDenyWriteExecute", "yes" if _never_writes_code(plan) else "no"


def _values(plan: Plan, call: str, argument: int) -> set[int] | None:
    """What the plan lets `call` have as its checked `argument`; None where that is not checked."""
    for check in plan.argument_checks:
        if check.call == call and check.values is not None and argument in check.arguments:
            place = check.arguments.index(argument)
            return {row[place] for row in check.values}
    return None


def _never_writes_code(plan: Plan) -> bool:
    """No memory is mapped writable and executable, and none becomes executable."""
    mapped, changed = _values(plan, "mmap", 2), _values(plan, "mprotect", 2)
    if mapped is None or changed is None:
        return False
    both = _WRITE | _EXECUTE
    return all(value & both != both for value in mapped) and not any(
        value & _EXECUTE for value in changed
    )
