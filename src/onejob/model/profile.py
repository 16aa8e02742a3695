"""The Profile: everything the service was seen to need, with counts and where each fact is from.

The first four properties are the paper's, with its names and meaning. The rest is further
properties and classes of the same grammar. The file form is XML (onejob.model.profile_xml).
"""

from typing import Annotated, Literal

from pydantic import Field

from onejob.model.noun import Noun

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


class MemoryAllocation(Noun):
    """Blocks of `blockSize` bytes; `numberOfBlocks` is the peak alive at once in one process."""

    block_size: Count
    number_of_blocks: Count


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

    `size` in bytes; `mode` the permission bits; `target` of a symbolic link; `needed` the ELF
    closure's next step as resolved paths; `package` as ``name=version``.
    """

    path: str
    kind: FileKind
    size: Count = 0
    mode: Annotated[int, Field(ge=0, le=0o7777)] = 0
    uid: Annotated[int, Field(ge=0, lt=2**32)] = 0
    gid: Annotated[int, Field(ge=0, lt=2**32)] = 0
    sha256: str = ""
    target: str = ""
    needed: tuple[str, ...] = ()
    interpreter: str = ""
    package: str = ""
    existed: bool = True
    uses: tuple[Use, ...] = ()
    origin: Origin = "observed"


class ProgramAllocation(Noun):
    """The memory recorder's counts for blocks of `block_size` bytes of one program."""

    program: str
    block_size: Count
    peak: Count
    allocated: Count
    freed: Count


class Account(Noun):
    """A user that the service asked to become or named, as the host defines it."""

    name: str
    uid: Annotated[int, Field(ge=0, lt=2**32)]
    gid: Annotated[int, Field(ge=0, lt=2**32)]
    home: str = "/"


class Group(Noun):
    """A group that the service asked to become or named."""

    name: str
    gid: Annotated[int, Field(ge=0, lt=2**32)]


class DrillRun(Noun):
    """A drill that was run, and what it brought that was not known before it."""

    name: str
    phase: Phase
    new_calls: Count = 0
    new_files: Count = 0


class Package(Noun):
    """A package of the service's dependency closure; `paths` that it installs."""

    name: str
    version: str
    paths: Count


class Provenance(Noun):
    """Where and how the profile was taken."""

    onejob: str
    machine: str
    kernel: str
    libc: str
    distribution: str
    backend: Literal["ebpf", "ptrace", "import"]


class Profile(Noun):
    """What one service needs. A fact that is absent was not seen."""

    memory_allocations: tuple[MemoryAllocation, ...] = ()
    number_of_processes: Count = 0
    number_of_sockets: Count = 0
    system_calls: tuple[SystemCall, ...] = ()
    number_of_threads: Count = 0
    number_of_descriptors: Count = 0
    number_of_pipes: Count = 0
    resident_kib: Count = 0
    events_lost: Count = 0
    name: str = ""
    program: str = ""
    workload: str = ""
    provenance: Provenance | None = None
    drills: tuple[DrillRun, ...] = ()
    calls: tuple[CallUse, ...] = ()
    arguments: tuple[Argument, ...] = ()
    files: tuple[FileUse, ...] = ()
    allocations: tuple[ProgramAllocation, ...] = ()
    accounts: tuple[Account, ...] = ()
    groups: tuple[Group, ...] = ()
    packages: tuple[Package, ...] = ()

    def file(self, path: str) -> FileUse | None:
        """What is known of `path`."""
        return next((file for file in self.files if file.path == path), None)
