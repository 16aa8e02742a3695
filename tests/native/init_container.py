"""A runc container around process 1 (`onejob-init`) and a small service, for test_init.py."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from onejob.base.natives import native_path

SECONDS = 20.0  # limit for anything that waits
HERE = Path(__file__).resolve().parent

# What a statically linked C program calls by itself, and what init_job.c does (x86-64 numbers).
CALLS = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "ioctl": 16, "pause": 34, "fcntl": 72,
    "nanosleep": 35, "getpid": 39, "clone": 56, "fork": 57, "execve": 59, "exit": 60, "wait4": 61,
    "kill": 62, "getppid": 110, "prctl": 157, "arch_prctl": 158, "gettid": 186, "futex": 202,
    "set_tid_address": 218, "clock_nanosleep": 230, "exit_group": 231, "tgkill": 234, "openat": 257,
    "newfstatat": 262, "readlinkat": 267, "readlink": 89, "set_robust_list": 273, "getrlimit": 97,
    "prlimit64": 302, "getrandom": 318, "rseq": 334,
    "chown": 92, "setsid": 112, "getuid": 102, "getgid": 104,
}  # fmt: skip
PTRACE = 101
NAMESPACES = ("pid", "mount", "ipc", "uts", "network")


def compile_job(folder: Path, source: str = "init_job.c", link: str = "-static") -> Path:
    """The service, statically linked: the root of the container has nothing else."""
    command = ["gcc", link, "-O1", "-w", "-o", "job", str(HERE / source)]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
    return folder / "job"


def instruction(code: int, true: int, false: int, value: int) -> bytes:
    """One struct sock_filter (linux/filter.h)."""
    return struct.pack("<HBBI", code, true, false, value)


ASK, TRACE = 0x7FC00000, 0x7FF00000  # SECCOMP_RET_USER_NOTIF, SECCOMP_RET_TRACE


def policy(without: frozenset[int] = frozenset()) -> bytes:
    """Allow CALLS less `without`; process 1 decides on all else."""
    return call_filter(set(CALLS.values()) - without, ASK)


def call_filter(calls: Iterable[int], otherwise: int) -> bytes:
    """Allow these calls, and say `otherwise` to all else."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    allow, kill = 0x7FFF0000, 0x80000000
    program = [
        instruction(load, 0, 0, 4),  # seccomp_data.arch
        instruction(equal, 1, 0, 0xC000003E),  # AUDIT_ARCH_X86_64
        instruction(give, 0, 0, kill),
        instruction(load, 0, 0, 0),  # seccomp_data.nr
    ]
    for number in sorted(calls):
        program += [instruction(equal, 0, 1, number), instruction(give, 0, 0, allow)]
    return b"".join([*program, instruction(give, 0, 0, otherwise)])


PLAN: dict[str, Any] = {
    "format": 1, "name": "job", "command": ["/job"], "environment": ["PATH=/bin"],
    "directory": "/", "user": 0, "group": 0, "groups": [], "hostname": "onejob-test",
    "mounts": [
        {"path": "/proc", "kind": "proc"}, {"path": "/sys", "kind": "sysfs"},
        {"path": "/dev", "kind": "devtmpfs"},
        {"path": "/run", "kind": "tmpfs", "size_kib": 1024, "mode": 0o750},
        {"path": "/var/log/job", "kind": "data"},
    ],
    "machine": {"processors": 1, "memory_kib": 1024}, "schedule": {},
    "limits": [{"resource": "nofile", "soft": 64, "hard": 128}], "sysctls": [], "sizes": [],
    "stop_signal": int(signal.SIGQUIT), "stop_timeout_ms": 2000, "no_new_privileges": True,
    "capabilities": [0, 5], "denied": "eperm",
}  # fmt: skip

CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_SYS_ADMIN",
]  # fmt: skip


def oci_config(environment: list[str], capabilities: list[str]) -> dict[str, Any]:
    """An OCI bundle's config.json: own namespaces, no cgroup limits, the rights process 1 needs."""
    caps = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
    return {
        "ociVersion": "1.0.2",
        "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["/onejob-init"],
                    "env": ["container=onejob", *environment], "cwd": "/", "capabilities": caps},
        "root": {"path": "rootfs", "readonly": False},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
    }  # fmt: skip


class Container:
    """One run of process 1 in a bundle under `folder`."""

    def __init__(self, folder: Path, job: Path) -> None:
        self.folder, self.root = folder, folder / "rootfs"
        self.name = f"onejob-test-{uuid.uuid4().hex[:12]}"
        self.plan: dict[str, Any] = json.loads(json.dumps(PLAN))
        self.policy, self.rows = policy(), b""
        self.capabilities = list(CAPABILITIES)
        self.linux: dict[str, Any] = {}  # further members of `linux` in the bundle
        self.mounts: list[dict[str, Any]] = []  # further ones
        self.environment = ["ONEJOB_CONTROL=fd:3", "ONEJOB_DATA=tmpfs:4096", "ONEJOB_DRIVEN=yes"]
        self.process: subprocess.Popen[bytes] | None = None
        self.events: list[dict[str, Any]] = []
        self.count = 0
        for path in ("proc", "sys", "dev", "run", "var/log/job", ".onejob/data"):
            (self.root / path).mkdir(parents=True)
        shutil.copy(native_path("onejob-init"), self.root / "onejob-init")
        shutil.copy(job, self.root / "job")

    def start(self, *words: str) -> None:
        """Run the job with these words; the console goes to a file."""
        self.disconnect()
        if words:
            self.plan["command"] = ["/job", *words]
        self.plan.setdefault("policy", (len(self.rows) // 8, len(self.policy) // 8))
        (self.root / ".onejob/instance.json").write_text(json.dumps(self.plan))
        (self.root / ".onejob/filters.bpf").write_bytes(self.rows + self.policy)
        config = oci_config(self.environment, self.capabilities)
        config["linux"] |= self.linux
        config["mounts"] += self.mounts
        (self.folder / "config.json").write_text(json.dumps(config))
        self.port, theirs = socket.socketpair()
        self.port.settimeout(SECONDS)
        self.lines = self.port.makefile("r", encoding="utf-8")
        runc = f"runc run --preserve-fds 1 --bundle {self.folder} {self.name}"
        command = f"exec {runc} 3<&{theirs.fileno()}"
        with theirs, self.open_console() as console:
            self.process = subprocess.Popen(
                ["bash", "-c", command], pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def open_console(self) -> BinaryIO:
        """Where the words of process 1 and the service go."""
        return (self.folder / "console").open("wb")

    @property
    def console(self) -> str:
        return (self.folder / "console").read_text(errors="replace")

    def await_text(self, text: str, seconds: float = SECONDS) -> None:
        """Until the console shows `text`."""
        await_true(
            lambda: text in self.console, lambda: f"{text!r} not in:\n{self.console}", seconds
        )

    def ask(self, verb: str, **fields: Any) -> Any:
        """A request and the value of its reply; events that come first are kept."""
        self.count += 1
        self.send(json.dumps({"id": self.count, "do": verb, **fields}))
        reply = self.reply()
        assert reply["id"] == self.count
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["ok"]

    def text_of(self, path: str) -> str:
        """The first 64 KiB of a file inside."""
        reply = self.ask("read", path=path, offset=0, length=65536)
        return base64.b64decode(reply["data"]).decode()

    def outside(self, path: str) -> Path:
        """Where a path inside is reached from outside."""
        return Path(f"/proc/{self.host_pids()[0]}/root{path}")

    def host_pids(self) -> list[int]:
        """Its processes as this machine numbers them, process 1 first."""
        return sorted(json.loads(subprocess.check_output(["runc", "ps", "-f", "json", self.name])))

    def send(self, line: str) -> None:
        self.port.sendall(line.encode() + b"\n")

    def reply(self) -> dict[str, Any]:
        while True:
            message = self.message()
            if "event" not in message:
                return message
            self.events.append(message)

    def message(self) -> dict[str, Any]:
        try:
            line = self.lines.readline()
        except ConnectionResetError:  # it ended with a request unread
            line = ""
        assert line, f"the control channel ended; console:\n{self.console}"
        message: dict[str, Any] = json.loads(line)
        return message

    def rest(self) -> list[dict[str, Any]]:
        """All that is still to come, after the end."""
        return [json.loads(line) for line in self.lines]

    def event(self, name: str) -> dict[str, Any]:
        """The first event of this name, seen already or to come."""
        while True:
            for event in self.events:
                if event["event"] == name:
                    return event
            self.events.append(self.message())

    def status(self) -> int:
        """Wait for the end; the exit status of the container."""
        assert self.process is not None
        return self.process.wait(SECONDS)

    def clean(self) -> None:
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True, timeout=60)
        if self.process is not None:
            self.process.wait(SECONDS)
        self.disconnect()

    def disconnect(self) -> None:
        """Close our side of the control channel."""
        if self.process is not None:
            self.lines.close()
            self.port.close()


def put_data_on_disk(container: Container) -> Path:
    """Data in a folder of the host's, as onejob run --on host has it."""
    data = container.folder / "data"
    data.mkdir()
    (data / ".onejob-owner").write_text("job\n")
    container.environment[1] = "ONEJOB_DATA=dir"
    container.mounts.append(
        {"destination": "/.onejob/data", "type": "bind", "source": str(data), "options": ["bind"]}
    )
    return data


def await_true(
    question: Callable[[], bool], complaint: Callable[[], str], seconds: float = SECONDS
) -> None:
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, complaint()
        time.sleep(0.02)
