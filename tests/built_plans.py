"""Small plans for the tests of the builder: any field can be replaced."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from onejob.model.plan import (
    Dimension,
    Machine,
    Mount,
    Plan,
    PlannedFile,
    RootFormat,
    Service,
    Setting,
)
from onejob.model.plan_policy import CallDecision, Capability, Grant

ZSTD = RootFormat(filesystem="squashfs", compression="zstd", block_size=131072, reason="test")


def dimension(kind: Any, name: str, value: int | str) -> Dimension:
    """A dimension of a plan."""
    return Dimension(kind=kind, name=name, value=str(value), source="a test", reason="seen")


DIMENSIONS = (
    dimension("machine", "processors", 1),
    dimension("machine", "memory", 32768),
    dimension("machine", "least memory", 8192),
    dimension("cgroup", "tasks", 16),
    dimension("limit", "nofile", 1024),
    dimension("sysctl", "fs.nr_open", 1024),
)


def make_plan(**changes: Any) -> Plan:
    """A plan of a service that says true; its root holds what `changes` give as files."""
    service = Service(
        command=("/usr/bin/true", "--now"), environment=("PATH=/usr/bin", "LANG=C.UTF-8"),
        directory="/", user=33, group=33, hostname="truth", ports=(80,), stop_signal=3,
        stop_timeout_ms=10000, no_new_privileges=True,
    )  # fmt: skip
    machine = Machine(
        hardware="qemu-microvm", how="qemu-microvm", processors=1, memory_kib=32768,
        console="ttyS0", root_device="/dev/vda", data_device="/dev/vdb",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "name": "truth", "architecture": "x86_64", "machine": machine, "service": service,
        "components": (), "kernel_options": (), "kernel_arguments": (), "root": ZSTD,
        "files": (), "left_out": (), "mounts": MOUNTS, "calls": CALLS, "matrix": (), "memory": (),
        "dimensions": DIMENSIONS,
        "settings": (Setting(name="net.core.somaxconn", value="511", reason="backlog"),),
        "grants": GRANTS,
        "capabilities": (Capability(name="CAP_CHOWN", number=0, reason="seen"),),
    }  # fmt: skip
    return Plan(**fields | changes)


MOUNTS = (
    Mount(path="/proc", kind="proc", reason="read"),
    Mount(path="/run", kind="tmpfs", reason="written", size_kib=4096, mode=0o755),
    Mount(path="/var/log/truth", kind="data", reason="written"),
)
GRANTS = (
    Grant(program="/usr/bin/true", path="/var/log/truth", rights=("write-file",), reason="seen"),
)
CALLS = tuple(
    CallDecision(name=name, number=number, reason="seen")
    for name, number in (("read", 0), ("write", 1), ("execve", 59), ("exit_group", 231))
)


def host_file(path: Path | str, **changes: Any) -> PlannedFile:
    """The host's file at `path`, as a profile of right now would have it planned."""
    state = os.stat(path)
    fields = {
        "path": str(path), "kind": "file", "origin": "host", "reasons": ("used",),
        "mode": stat.S_IMODE(state.st_mode), "uid": state.st_uid, "gid": state.st_gid,
        "size": state.st_size, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        "package": "coreutils=9.1-1",
    }  # fmt: skip
    return PlannedFile(**fields | changes)


def text_file(path: str, text: str = "said\n", **changes: Any) -> PlannedFile:
    """A file whose bytes the plan itself has."""
    fields = {"kind": "file", "origin": "text", "mode": 0o644, "text": text, "reasons": ("used",)}
    return PlannedFile(path=path, **fields | changes)


def folder(path: str, **changes: Any) -> PlannedFile:
    """A directory of the root."""
    fields = {"kind": "directory", "origin": "none", "mode": 0o755, "reasons": ("used",)}
    return PlannedFile(path=path, **fields | changes)


def symlink(path: str, target: str, **changes: Any) -> PlannedFile:
    """A symbolic link of the root."""
    fields = {"kind": "symlink", "origin": "none", "mode": 0o777, "reasons": ("used",)}
    return PlannedFile(path=path, target=target, **fields | changes)
