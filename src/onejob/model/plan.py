"""The Plan: every decision with its reason, in stable order. JSON, diffable.

It is a pure function of Profile, Hardware and components: same input, same bytes.
"""

from typing import Annotated, Literal

from pydantic import Field

from onejob.model.absent import AbsentPaths
from onejob.model.hardware import Hardware
from onejob.model.job import JobDecision
from onejob.model.noun import Noun
from onejob.model.paths import AbsolutePath
from onejob.model.plan_policy import (
    AnsweredCall,
    ArgumentCheck,
    CallDecision,
    Capability,
    Denied,
    Grant,
    Landlock,
    Log,
    MatrixRow,
    Network,
)

Identity = Annotated[int, Field(ge=0, lt=2**32)]
# What a plan takes: what was observed, with its needs; also what is known of it (named files, the C
# library's error paths); also every call that code was found to reach. Each takes more.
Trust = Literal["observed", "known", "union"]
# A disk that is made for data has at least so much for it.
LEAST_DATA_MIB = 64


class KernelOption(Noun):
    """``CONFIG_<name>=<value>`` and why."""

    name: str
    value: str
    reason: str


class KernelArgument(Noun):
    """A word of the kernel's command line and why."""

    value: str
    reason: str


class PlannedFile(Noun):
    """One entry of the read-only root.

    `origin` host: copied from the machine that profiled, and must still have `sha256`; `text` is
    added to it. `text`: its bytes are `text`. `native`: a part of onejob by that name. `ldconfig`:
    the loader's cache, made for exactly this root. `modified` in seconds since 1970. `set_id` says
    why a file has the set-user-id or set-group-id bit; no other has it.
    """

    path: AbsolutePath
    kind: Literal["file", "directory", "symlink"]
    origin: Literal["host", "text", "native", "ldconfig", "none"]
    reasons: tuple[str, ...]
    mode: Annotated[int, Field(ge=0, le=0o7777)]
    uid: Identity = 0
    gid: Identity = 0
    size: int = 0
    modified: Annotated[int, Field(ge=0, lt=2**32)] = 0
    sha256: str = ""
    target: str = ""
    text: str = ""
    native: str = ""
    package: str = ""
    set_id: str = ""


class LeftOut(Noun):
    """A file that the service used when profiled and does without in the image."""

    path: AbsolutePath
    reason: str


class RenewedFile(Noun):
    """A file of the system that is not as in the profile; `reason` says why it is the system's.

    `profiled` and `now` are package and content, or where a link points to; empty for none.
    """

    path: AbsolutePath
    profiled: str = ""
    now: str = ""
    reason: str


class Mount(Noun):
    """What process 1 mounts, in order: `data` on the writable partition, the rest in memory.

    The service can change nothing in what is `read_only` (sysfs is, in any case). Of `devtmpfs`,
    only `devices` stay, and all `block_devices`. `share`: it is in the logs' share. 0 KiB: half.
    """

    path: AbsolutePath
    kind: Literal["proc", "sysfs", "devtmpfs", "tmpfs", "data"]
    reason: str
    size_kib: int | None = None
    mode: int | None = None
    read_only: bool = False
    share: bool = False
    devices: tuple[AbsolutePath, ...] = ()
    block_devices: bool = False


class MemoryArray(Noun):
    """`blocks` blocks of `block_size` bytes for `program`'s requests from `smallest` bytes on.

    `spare` of them are for the caches of its threads.
    """

    program: str
    block_size: int
    smallest: int
    blocks: int
    spare: int = 0
    reason: str


class MemoryManager(Noun):
    """Who serves malloc. `static`: the preloaded library, from the plan's arrays, which counts in
    the folder `counts` and lets wrong frees pass if `unsafe_free`. `none`: each program's own.

    `apart` are programs that keep their own although it is static.
    """

    kind: Literal["static", "none"] = "none"
    counts: str = ""
    unsafe_free: bool = False
    reason: str = "the plan says nothing of it"
    apart: tuple[LeftOut, ...] = ()


class Dimension(Noun):
    """Something of the system that has a size, decided once from profile and hardware.

    `kind` says who holds it: the `machine` that must have as much, a resource `limit` of each
    process (setrlimit(2) names), a `sysctl`, the `cgroup` of a container, the `schedule` of the
    service's processes, a `share` of the data partition, or the `kernel` as it is built and
    started. `source` is the fact that it was decided from, `head_room` what was added to it.
    """

    name: str
    kind: Literal["machine", "limit", "sysctl", "cgroup", "schedule", "share", "kernel"]
    value: Annotated[str, Field(pattern=r"^[!-~]+( [!-~]+)*$")]
    unit: str = ""
    source: str
    head_room: str = ""
    reason: str


class Setting(Noun):
    """A kernel setting, of no size, written at boot."""

    name: str
    value: str
    reason: str


class RootFormat(Noun):
    """How the read-only root is packed."""

    filesystem: Literal["squashfs", "erofs"]
    compression: str
    block_size: int
    reason: str


class Machine(Noun):
    """What of the hardware the image was made for; of several machines, `least` has the least."""

    hardware: str
    how: Literal["metal", "qemu-microvm", "qemu-q35"]
    processors: int
    least: int | None = None
    memory_kib: int
    console: str
    consoles: tuple[str, ...] = ()
    root_device: str
    data_device: str


class Service(Noun):
    """How process 1 starts and ends the service; `groups` are supplementary ones.

    `settling`: the calls of which the first settles a process, where the workload names them.
    """

    command: tuple[str, ...]
    environment: tuple[str, ...]
    directory: str
    user: Identity
    group: Identity
    groups: tuple[Identity, ...] = ()
    hostname: str
    ports: tuple[int, ...]
    settling: tuple[str, ...] = ()
    stop_signal: int
    stop_timeout_ms: int
    no_new_privileges: bool


class Restart(Noun):
    """How often in a row a service that fails is started again.

    After a rest of `first_ms`, then twice as long each time up to `longest_ms`; one that ran for
    `steady_ms` begins anew.
    """

    attempts: Annotated[int, Field(ge=1, le=20)]
    first_ms: Annotated[int, Field(ge=1)]
    longest_ms: Annotated[int, Field(ge=1)]
    steady_ms: Annotated[int, Field(ge=0)]
    reason: str


class CoreFiles(Noun):
    """Of processes that fail, the memory of at most `most` is kept, at most `kib` KiB of each."""

    most: Annotated[int, Field(ge=1, le=100)]
    kib: Annotated[int, Field(ge=1)]
    reason: str


class Ready(Noun):
    """When a newly written slot of a disk is good: the service listens on its ports by then."""

    within_ms: Annotated[int, Field(ge=1)]
    reason: str


class Administrator(Noun):
    """Who may shut the system down: who has the private half of `key`, ed25519 in hexadecimal."""

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: str


class Plan(Noun):
    """Every decision about one image; `hardware` is what it was decided for."""

    format: Literal[1] = 1
    name: str
    trust: Trust = "known"
    architecture: Literal["x86_64"]
    machine: Machine
    hardware: Hardware | None = None
    service: Service
    components: tuple[str, ...]
    kernel_options: tuple[KernelOption, ...]
    kernel_arguments: tuple[KernelArgument, ...]
    root: RootFormat
    files: tuple[PlannedFile, ...]
    left_out: tuple[LeftOut, ...]
    renewed: tuple[RenewedFile, ...] = ()
    mounts: tuple[Mount, ...]
    calls: tuple[CallDecision, ...]
    denied: Denied = "eperm"
    argument_checks: tuple[ArgumentCheck, ...] = ()
    answered_calls: tuple[AnsweredCall, ...] = ()
    matrix: tuple[MatrixRow, ...]
    landlock: Landlock = "required"
    grants: tuple[Grant, ...] = ()
    logs: tuple[Log, ...] = ()
    memory: tuple[MemoryArray, ...]
    memory_manager: MemoryManager = MemoryManager()
    absent: tuple[AbsentPaths, ...] = ()
    dimensions: tuple[Dimension, ...]
    settings: tuple[Setting, ...]
    capabilities: tuple[Capability, ...]
    network: Network | None = Network()  # None: it mounts, which no domain of Landlock may
    restart: Restart | None = None
    ready: Ready | None = None
    core_files: CoreFiles | None = None
    job: JobDecision | None = None
    administrator: Administrator | None = None
    warnings: tuple[str, ...] = ()

    def sizes(self, kind: str) -> dict[str, str]:
        """The values of one kind of dimension, by name."""
        return {each.name: each.value for each in self.dimensions if each.kind == kind}

    @property
    def share_kib(self) -> int:
        """The logs' share of the data partition; 0 where there is none."""
        return int(self.sizes("share").get("logs", 0))

    @property
    def data_kib(self) -> int:
        """What data needs beside the logs' share; 0 where the usual disk has it anyway."""
        return int(self.sizes("share").get("data", 0))

    @property
    def core_files_kib(self) -> int:
        """What all core files together may take of the data partition."""
        return self.core_files.most * self.core_files.kib if self.core_files else 0

    def sysctls(self) -> dict[str, str]:
        """Everything that is written below /proc/sys at boot, sizes last."""
        return {each.name: each.value for each in self.settings} | self.sizes("sysctl")
