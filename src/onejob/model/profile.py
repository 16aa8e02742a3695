"""The Profile: everything the service was seen to need, with counts and where each fact is from.

The first four properties are the paper's, with its names and meaning. The rest is further
properties and classes of the same grammar. The file form is XML (onejob.model.profile_xml).
"""

from typing import Annotated, Literal

from pydantic import Field

from onejob.model.noun import Noun
from onejob.model.paths import is_windows
from onejob.model.rows import Facts

Phase = Literal["boot", "serve"]
Origin = Literal["observed", "static", "user"]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
# Java's long: an argument beyond it stands as the negative number of the same 64 bits.
Value = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
FileKind = Literal["file", "directory", "symlink", "device", "socket", "pipe", "missing"]
How = Literal[
    "read", "written", "appended", "executed", "mapped", "listed", "looked-up", "linked",
    "created", "renamed-from", "renamed-to", "removed", "changed", "bound", "connected", "missing",
]  # fmt: skip
Role = Literal["main", "worker"]
StartHow = Literal["thread", "fork", "exec"]
WINDOWS = "Windows"  # how a provenance's kernel begins that is none of Linux
Id = Annotated[int, Field(ge=0, lt=2**32)]


class MemoryAllocation(Noun):
    """Blocks of `blockSize` bytes; `numberOfBlocks` is the peak alive at once in one process."""

    block_size: Count = 0  # a JDK leaves out what a bean has at Java's default
    number_of_blocks: Count = 0


class SystemCall(Noun):
    """A system call that the service made at least once."""

    call_name: str


class CallUse(Noun):
    """How often `program` made a call in one drill, and how often it failed, by errno."""

    program: str
    call_name: str
    phase: Phase
    drill: str
    count: Count
    failed: Count = 0
    errors: tuple[Value, ...] = ()
    origin: Origin = "observed"


class Argument(Noun):
    """Argument values of a call that policy needs, e.g. socket (family, type, protocol)."""

    program: str
    call_name: str
    drill: str
    values: tuple[Value, ...]
    count: Count
    failed: Count = 0
    origin: Origin = "observed"


class Use(Noun):
    """How `program` used a file in one drill."""

    program: str
    drill: str
    how: How
    count: Count


class FileUse(Noun):
    """One path that the service asked for, as it asked for it, and what is there.

    `size` in bytes; `mode` the permission bits; `modified` in seconds since 1970, of files that the
    service does not write; `target` of a symbolic link; `needed` the ELF closure's next step as
    resolved paths; `package` as ``name=version``; `named_by` says for a static fact where the path
    was found (``/etc/nsswitch.conf: hosts``, ``dlopen in /lib/x.so``).
    """

    path: str
    kind: FileKind
    size: Count = 0
    mode: Annotated[int, Field(ge=0, le=0o7777)] = 0
    uid: Id = 0
    gid: Id = 0
    modified: Annotated[int, Field(ge=0, lt=2**32)] = 0
    sha256: str = ""
    target: str = ""
    needed: tuple[str, ...] = ()
    interpreter: str = ""
    package: str = ""
    existed: bool = True
    uses: tuple[Use, ...] = ()
    named_by: tuple[str, ...] = ()
    origin: Origin = "observed"


class Relationship(Noun):
    """`program` made a call through `library`, the object whose instruction it was, in one drill.

    `components` of the kernel that answered: a file system (``ext4``, ``proc``), a socket family
    (``socket:inet``), another kind of object (``pipe``, ``anon_inode``); empty where the call
    concerns none.
    """

    program: str
    library: str
    call_name: str
    drill: str
    count: Count
    components: tuple[str, ...] = ()


class RoleCall(Noun):
    """Of the calls of `program` in one drill, those of its processes in a role and a state.

    A `worker` was forked by the program and has executed nothing since. A process has `settled`
    from the first call on that waits (for a connection, a request, a signal, the end of a child)
    after it, or before its fork the process that forked it, had listened; with several threads, all
    that they call once it listens counts, as their order is the scheduler's. An execve that
    succeeded is the call of the program that made it.
    """

    program: str
    role: Role
    settled: bool = False
    call_name: str
    drill: str
    count: Count


class Traffic(Noun):
    """What `program` did through descriptors to one object, by one call, in one drill.

    `object` is a path, or a kind of nameless thing: ``socket:inet/stream``, ``pipe``,
    ``anon_inode:[eventfd]``; `component` as in Relationship. `count` operations that succeeded
    (syncs and locks too), `bytes` moved, `jumps` operations on a file that did not begin where the
    one before them ended: random access.
    """

    program: str
    call_name: str
    drill: str
    object: str
    component: str
    count: Count
    bytes: Count = 0
    jumps: Count = 0


class Listener(Noun):
    """A socket that `program` listened on; `queue_peak` is the most that waited for accept.

    `address` as text, a path for a Unix socket.
    """

    program: str
    drill: str
    family: str
    kind: str
    address: str
    port: Count = 0
    backlog: Count = 0
    queue_peak: Count = 0
    accepted: Count = 0


class CapabilityUse(Noun):
    """How often the kernel asked whether `program` has a capability, and how often it had not."""

    program: str
    drill: str
    name: str
    count: Count
    refused: Count = 0


class Identity(Noun):
    """A pair of effective ids that `program` made calls under, in one drill."""

    program: str
    drill: str
    uid: Id
    gid: Id
    no_new_privs: bool = False


class Start(Noun):
    """How often `program` started a thread, forked a process, or became (exec) `child`."""

    program: str
    child: str
    drill: str
    how: StartHow
    count: Count


class ProgramPeak(Noun):
    """Most at once of one program, in KiB and numbers; sizes are of its largest process."""

    program: str
    processes: Count = 0
    threads: Count = 0
    descriptors: Count = 0
    resident_kib: Count = 0
    heap_kib: Count = 0
    anonymous_kib: Count = 0
    mapped_file_kib: Count = 0
    huge_page_kib: Count = 0


class Scheduling(Noun):
    """A scheduling policy, nice value and set of processors that threads of `program` had."""

    program: str
    policy: str
    priority: Value = 0
    nice: Value = 0
    processors: str = ""


class KernelInterface(Noun):
    """A thing of the kernel's that `program` used.

    `kind`: filesystem (mounted), netlink (a protocol), sysctl, proc, sys, device, module; and of
    Windows, registry (a key or value).
    """

    program: str
    drill: str
    kind: Literal["filesystem", "netlink", "sysctl", "proc", "sys", "device", "module", "registry"]
    name: str
    count: Count


class ReachableCall(Noun):
    """A call that the code of `object`, a program or library, contains; found without a run."""

    object: str
    call_name: str
    reason: str = ""


class Unfollowed(Noun):
    """What static completion found in `object` and could not, or would not, follow."""

    object: str
    reason: str


class ProgramAllocation(Noun):
    """The memory recorder's counts for blocks of `block_size` bytes of one program.

    Of the `allocated`: `short_lived` were freed by the thread that allocated them before it
    allocated or freed 64 more, `process_long` still lived when their process ended, the rest lived
    for a phase; `freed_elsewhere` by another thread; `resized` came from realloc of an older block,
    `aligned` from an aligned allocation. `freed` has copies in children by fork, too.
    """

    program: str
    block_size: Count
    peak: Count
    allocated: Count
    freed: Count
    short_lived: Count = 0
    process_long: Count = 0
    freed_elsewhere: Count = 0
    resized: Count = 0
    aligned: Count = 0


class UnrecordedMemory(Noun):
    """A program whose allocations could not be counted, and why: it is not the same as none."""

    program: str
    reason: str


class Account(Noun):
    """A user that the service became, whose files it used or, static, whose name it read."""

    name: str
    uid: Id
    gid: Id
    home: str = "/"
    origin: Origin = "observed"


class Group(Noun):
    """A group, likewise; for its `members`, accounts of the profile, it is a supplementary one."""

    name: str
    gid: Id
    members: tuple[str, ...] = ()
    origin: Origin = "observed"


class DrillRun(Noun):
    """A drill that was run, and what it brought that was not known before it.

    `rounds` times in all; the last `quiet_rounds` of them brought nothing new.
    """

    name: str
    phase: Phase
    new_calls: Count = 0
    new_files: Count = 0
    rounds: Count = 1
    quiet_rounds: Count = 0


class Package(Noun):
    """A package of the service's dependency closure; `paths` that it installs."""

    name: str
    version: str
    paths: Count


class Provenance(Noun):
    """Where and how the profile was taken.

    `partial` says what such a recording cannot know; empty where it is whole. `sources` are the
    profiles that were merged into this one, or the files that were imported.
    """

    onejob: str
    machine: str
    kernel: str
    libc: str
    distribution: str
    backend: Literal["ebpf", "ptrace", "import"]
    partial: str = ""
    sources: tuple[str, ...] = ()


class Profile(Noun):
    """What one service needs. A fact that is absent was not seen."""

    memory_allocations: Facts[MemoryAllocation] = ()
    number_of_processes: Count = 0
    number_of_sockets: Count = 0
    system_calls: Facts[SystemCall] = ()
    number_of_threads: Count = 0
    number_of_descriptors: Count = 0
    number_of_pipes: Count = 0
    resident_kib: Count = 0
    events_lost: Count = 0
    name: str = ""
    program: str = ""
    workload: str = ""
    provenance: Provenance | None = None
    drills: Facts[DrillRun] = ()
    calls: Facts[CallUse] = ()
    arguments: Facts[Argument] = ()
    files: Facts[FileUse] = ()
    allocations: Facts[ProgramAllocation] = ()
    accounts: Facts[Account] = ()
    groups: Facts[Group] = ()
    packages: Facts[Package] = ()
    relationships: Facts[Relationship] = ()
    role_calls: Facts[RoleCall] = ()
    traffic: Facts[Traffic] = ()
    listeners: Facts[Listener] = ()
    capabilities: Facts[CapabilityUse] = ()
    identities: Facts[Identity] = ()
    starts: Facts[Start] = ()
    program_peaks: Facts[ProgramPeak] = ()
    scheduling: Facts[Scheduling] = ()
    kernel_interfaces: Facts[KernelInterface] = ()
    reachable_calls: Facts[ReachableCall] = ()
    unfollowed: Facts[Unfollowed] = ()
    unrecorded_memory: Facts[UnrecordedMemory] = ()

    @property
    def of_windows(self) -> bool:
        """Whether any of it was seen on Windows."""
        kernels = self.provenance.kernel.split("; ") if self.provenance else []
        return is_windows(self.program) or any(name.startswith(WINDOWS) for name in kernels)

    def file(self, path: str) -> FileUse | None:
        """What is known of `path`."""
        return next((file for file in self.files if file.path == path), None)
