"""A small service, machine and component set, made by hand: input of many tests."""

import hashlib
import os
from pathlib import Path
from typing import Any

from onejob.model.component import Component
from onejob.model.hardware import Device, Disk, Hardware, Processors
from onejob.model.image import Content, Manifest, Verity
from onejob.model.jsonfile import to_json
from onejob.model.plan import Plan
from onejob.model.profile import (
    Account,
    Argument,
    CallUse,
    DrillRun,
    FileKind,
    FileUse,
    Group,
    How,
    MemoryAllocation,
    Package,
    Profile,
    ProgramAllocation,
    Provenance,
    RoleCall,
    SystemCall,
    Use,
)
from onejob.model.profile_xml import write_profile
from onejob.model.tomlfile import parse_toml

GOLDEN = Path(__file__).resolve().parent / "golden"
PROGRAM = "/usr/sbin/keeper"
WORKLOAD = """\
name = "keeper"
command = ["keeper", "-f"]
ports = [80]
ready = { tcp = 80 }
stop = { signal = "QUIT", within = 5 }
environment = { MODE = "small" }

[[drill]]
name = "serve"
run = ["true"]
"""

SERVED = ("read", "write", "chown", "setuid")

COMPONENT_TEXTS = {
    "base": """
        asked_by = { always = true }
        [[option]]
        name = "BINFMT_ELF"
        why = "programs are ELF files"
        [[option]]
        name = "IPV6"
        value = "n"
        why = "smaller without"
        [[call]]
        name = "restart_syscall"
        why = "the kernel makes it"
        [[check]]
        call = "setuid"
        arguments = [0]
        masks = [0xffffffff]
        why = "it becomes no other user"
        [[boot_argument]]
        value = "panic=-1"
        why = "reboot at once"
    """,
    "inet6": """
        asked_by = { sockets = ["AF_INET6"] }
        [[option]]
        name = "IPV6"
        why = "the service asks for such sockets"
    """,
    "net": """
        asked_by = { sockets = ["AF_INET", "AF_INET6"] }
        [[option]]
        name = "INET"
        why = "TCP"
        [[sysctl]]
        name = "net.ipv4.tcp_timestamps"
        value = "0"
        why = "nobody needs to know how long it runs"
    """,
    "ether": """
        asked_by = { components = ["net"] }
        [[option]]
        name = "ETHERNET"
        why = "frames"
    """,
    "virtio-block": """
        asked_by = { modaliases = ["virtio:d00000002v*"] }
        [[option]]
        name = "VIRTIO_BLK"
        why = "its disks"
    """,
    "smp": """
        asked_by = { processors_min = 2 }
        [[option]]
        name = "SMP"
        why = "all processors"
    """,
    "ext4": """
        asked_by = { filesystems = ["ext4"] }
        [[option]]
        name = "EXT4_FS"
        why = "the data partition"
    """,
    "inotify": """
        asked_by = { calls = ["inotify_init1"] }
        [[option]]
        name = "INOTIFY_USER"
        why = "watches folders"
    """,
}


def component(name: str, text: str) -> Component:
    """A component from what would stand in its file."""
    return parse_toml(f'name = "{name}"\nsummary = "{name}"\n{text}', Component, name)


def components() -> tuple[Component, ...]:
    """The tiny set."""
    return tuple(component(name, text) for name, text in COMPONENT_TEXTS.items())


def hardware(**changes: Any) -> Hardware:
    """A virtual machine with two disks."""
    fields: dict[str, Any] = {
        "name": "small-vm", "architecture": "x86_64", "how": "qemu-microvm", "firmware": "none",
        "processors": Processors(count=1, model="any"), "memory_kib": 32768,
        "disks": (Disk(name="vda", size_bytes=1 << 20), Disk(name="vdb", size_bytes=1 << 20)),
        "devices": (Device(bus="virtio", name="virtio0", modalias="virtio:d00000002v554D4551"),),
        "consoles": ("ttyS0",),
    }  # fmt: skip
    return Hardware(**{**fields, **changes})


def seen(path: str, *hows: How, kind: FileKind = "file", **more: Any) -> FileUse:
    """A path that the program used in these ways, twice each, in the drill serve."""
    uses = tuple(Use(program=PROGRAM, drill="serve", how=how, count=2) for how in sorted(hows))
    mode = {"file": 0o644, "directory": 0o755}.get(kind, 0)
    return FileUse(**{"path": path, "kind": kind, "uses": uses, "mode": mode, **more})


def call(name: str, drill: str = "serve", count: int = 2, failed: int = 0) -> CallUse:
    """A call of the program."""
    return CallUse(
        program=PROGRAM, call_name=name, phase="boot" if drill == "start" else "serve",
        drill=drill, count=count, failed=failed,
    )  # fmt: skip


def argument(name: str, *values: int, count: int = 2, failed: int = 0) -> Argument:
    """Argument values of a call of the program."""
    return Argument(
        program=PROGRAM, call_name=name, drill="serve", values=values, count=count, failed=failed
    )


FILES = (
    seen("/", kind="directory"),
    seen("/etc", kind="directory"),
    seen("/etc/keeper.conf", "read", size=120, sha256="0" * 64),
    seen("/etc/passwd", "read", size=1000, sha256="1" * 64),
    seen("/etc/missing.conf", "missing", kind="missing", existed=False),
    seen("/lib", "looked-up", kind="symlink", target="usr/lib", mode=0o777),
    seen("/usr/lib/libk.so", "looked-up", kind="symlink", target="libk.so.1", mode=0o777),
    seen("/usr/lib/libk.so.1", "mapped", size=9000, sha256="2" * 64, package="libk1=1.0"),
    seen(
        PROGRAM, "executed", mode=0o755, size=5000, sha256="3" * 64, package="keeper=2",
        needed=("/lib/libk.so",), interpreter="/lib64/ld.so",
    ),
    seen("/usr/share/keeper/key", "read", mode=0o640, uid=0, gid=15, size=10, sha256="4" * 64),
    seen("/var/lib/keeper/db", "read", "written", size=100, sha256="5" * 64, uid=120, gid=121),
    seen("/var/lib/keeper/sub/db2", "written", "read", size=100, sha256="5" * 64),
    seen("/var/log/keeper/log", "appended", "created", size=100, sha256="6" * 64, uid=120),
    seen("/run/keeper.pid", "created", "written", kind="missing", existed=False),
    seen("/dev/null", "written", kind="device"),
    seen("/etc/keeper.pid", "created", kind="missing", existed=False),
)  # fmt: skip


def profile(**changes: Any) -> Profile:
    """What the service keeper was seen to do."""
    fields: dict[str, Any] = {
        "memory_allocations": (MemoryAllocation(block_size=32, number_of_blocks=5),),
        "number_of_processes": 3, "number_of_sockets": 2, "number_of_threads": 5,
        "number_of_descriptors": 300, "number_of_pipes": 1, "resident_kib": 2048,
        "system_calls": (SystemCall(call_name="read"), SystemCall(call_name="write")),
        "name": "keeper", "program": PROGRAM, "workload": WORKLOAD,
        "provenance": Provenance(
            onejob="0", machine="x86_64", kernel="6", libc="glibc", distribution="D", backend="ebpf"
        ),
        "drills": (DrillRun(name="start", phase="boot"), DrillRun(name="serve", phase="serve")),
        "calls": (
            call("execve", "start", 1), call("socket", "start"), call("read"), call("write"),
            call("chown"), call("setuid", failed=2), call("bind", "start"), call("listen", "start"),
        ),
        "role_calls": tuple(
            RoleCall(
                program=PROGRAM, role="main", settled=settled, call_name=name,
                drill="serve" if settled else "start", count=1,
            )
            for settled, names in ((False, ("socket", "bind", "listen")), (True, SERVED))
            for name in names
        ),
        "arguments": (
            argument("bind", 2, 80), argument("listen", 511), argument("listen", 2**32 - 1),
            argument("socket", 2, 1, 0), argument("socket", 10, 1, 0, failed=2),
        ),
        "files": FILES,
        "allocations": (
            ProgramAllocation(program=PROGRAM, block_size=32, peak=5, allocated=9, freed=4),
            ProgramAllocation(program=PROGRAM, block_size=64, peak=0, allocated=0, freed=0),
        ),
        "accounts": (
            Account(name="root", uid=0, gid=0), Account(name="keep", uid=120, gid=121, home="/k"),
        ),
        "groups": (Group(name="keep", gid=121), Group(name="root", gid=0)),
        "packages": (Package(name="keeper", version="2", paths=12),),
    }  # fmt: skip
    return Profile(**{**fields, **changes})


def check_golden(name: str, text: str) -> None:
    """`text` is what the golden file holds; with UPDATE_GOLDEN=1 the file is written instead."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs: UPDATE_GOLDEN=1 writes it, if that is right"


def make_image(folder: Path, plan: Plan) -> Path:
    """An image folder of `plan` that can be opened, but not run: its root is four bytes."""
    parts = {
        "plan.json": to_json(plan).encode(),
        "profile.xml": write_profile(profile()).encode(),
        "root.img": b"root",
    }
    folder.mkdir()
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    contents = tuple(
        Content(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in parts.items()
    )
    manifest = Manifest(
        name=plan.name, onejob="0", contents=contents, kernel=None, packages=(),
        verity=Verity(data_blocks=1, hash_start=1, root_hash="0" * 64, salt=""),
    )  # fmt: skip
    (folder / "manifest.json").write_text(to_json(manifest))
    return folder
