"""Images of a small static service, made without profiling: for tests of running images."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from built_plans import DIMENSIONS, folder, host_file, make_plan
from onejob.base.progress import Quiet
from onejob.builder.image import build_image
from onejob.model.image import KERNEL, KERNEL_CONFIG, MANIFEST, Image, open_image
from onejob.model.jsonfile import to_json
from onejob.model.plan import Mount, Plan, PlannedFile, Service
from onejob.model.plan_policy import CallDecision, Grant, Log
from onejob.model.profile import CallUse, FileUse, Profile, Use
from onejob.model.profile_xml import write_profile
from onejob.model.syscalls import call_number

PORT = 8080
SOURCE = Path(__file__).with_name("small_service.c")
CONFIGURATION = "/etc/small.conf"
LOG = "/var/log/small/access.log"

WORKLOAD = """
name = "small"
command = ["small", "8080"]
packages = ["curl"]
ports = [8080]
ready = { http = "http://{address:8080}/" }
stop = { signal = "TERM" }

[[drill]]
name = "serve"
run = { command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                   "http://{address:8080}/PATH"], prints = "STATUS" }

[[drill]]
name = "rotate-logs"
inside = ["rename", "/var/log/small/access.log", "/var/log/small/access.log.1"]
signal = "USR1"
[drill.expect]
request = "http://{address:8080}/?{nonce}"
workers = "same"
files = [
    { path = "/var/log/small/access.log", contains = "{nonce}" },
    { path = "/var/log/small/access.log.1", lacks = "{nonce}" },
]
"""

# What the service and a static C library call.
CALLS = (
    "read", "write", "close", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "set_tid_address",
    "set_robust_list", "rseq", "prlimit64", "readlink", "readlinkat", "getrandom", "exit_group",
    "execve", "open", "openat", "fstat", "newfstatat", "socket", "setsockopt", "bind", "listen",
    "accept", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "clone", "kill", "wait4", "gettid",
    "getpid", "tgkill",
)  # fmt: skip

MOUNTS = (
    Mount(path="/proc", kind="proc", reason="read"),
    Mount(path="/dev", kind="devtmpfs", reason="/dev/null"),
    Mount(path="/var/log/small", kind="data", reason="written"),
)

LEAST = tuple(each for each in DIMENSIONS if each.kind in ("machine", "cgroup"))


def compile_service(folder: Path) -> Path:
    """The service as a static program."""
    program = folder / "small"
    subprocess.run(
        ["cc", "-O1", "-static", "-o", program, SOURCE],
        check=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return program


def plan_of(program: Path, argument: str, **changes: Any) -> Plan:
    """A plan that carries `program` and runs it with `argument`."""
    service = Service(
        command=(str(program), argument), environment=("PATH=/bin",), directory="/",
        user=0, group=0, hostname="small", ports=(PORT,), stop_signal=15, stop_timeout_ms=5000,
        no_new_privileges=True,
    )  # fmt: skip
    init = PlannedFile(
        path="/.onejob/init", kind="file", origin="native", native="onejob-init", mode=0o755,
        reasons=("process 1",),
    )  # fmt: skip
    paths = ("/proc", "/dev", "/sys", "/var/log/small", "/.onejob/data")
    grants = (
        Grant(program=init.path, path=str(program), rights=("execute",), reason="started"),
        Grant(
            program=init.path,
            path="/var/log/small",
            rights=("make-reg", "write-file"),
            reason="log",
        ),
    )
    fields: dict[str, Any] = {
        "name": "small", "service": service, "mounts": MOUNTS, "capabilities": (), "grants": grants,
        "logs": (Log(path=LOG, reason="extended"),),
        "files": (init, host_file(program, mode=0o755), *(folder(path) for path in paths)),
        "calls": tuple(
            CallDecision(name=name, number=call_number(name) or 0, reason="used") for name in CALLS
        ),
        "dimensions": LEAST,
    }  # fmt: skip
    return make_plan(**fields | changes)


def profile_of(program: Path, path: str, status: int) -> Profile:
    """A profile whose drill serve asks for `path` and wants `status`."""
    text = WORKLOAD.replace("PATH", path).replace("STATUS", str(status))
    use = Use(program=str(program), drill="serve", how="read", count=1)
    call = CallUse(program=str(program), call_name="read", phase="boot", drill="start", count=1)
    files = (FileUse(path=str(program), kind="file", uses=(use,)),)
    if path == "config":
        files = (*files, FileUse(path=CONFIGURATION, kind="file", uses=(use,)))
    return Profile(name="small", program=str(program), workload=text, calls=(call,), files=files)


def build_small(
    program: Path,
    place: Path,
    *,
    path: str = "",
    status: int = 200,
    argument: str = str(PORT),
    ready: str = "",
    **changes: Any,
) -> Image:
    """An image without kernel at `place`, with a profile that fits it or misses something.

    `ready` replaces the workload's, `changes` what is in the plan.
    """
    profile = profile_of(program, path, status)
    if ready:
        text = profile.workload.replace('{ http = "http://{address:8080}/" }', ready)
        profile = profile.model_copy(update={"workload": text})
    return build_image(
        plan_of(program, argument, **changes), write_profile(profile), place,
        with_kernel=False, cache=place.parent / "cache", progress=Quiet(),
    )  # fmt: skip


def with_kernel_of(image: Image, other: Image) -> Image:
    """`image`, with the kernel of `other` in it."""
    contents = {found.name: found for found in other.manifest.contents}
    for name in (KERNEL, KERNEL_CONFIG):
        shutil.copyfile(other.folder / name, image.folder / name)
    changes = {
        "kernel": other.manifest.kernel,
        "contents": (*image.manifest.contents, contents[KERNEL], contents[KERNEL_CONFIG]),
    }
    (image.folder / MANIFEST).write_text(to_json(image.manifest.model_copy(update=changes)))
    return open_image(image.folder)
