"""The probe's recording file, read into facts: calls, arguments, file uses, peaks."""

import errno
import os
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from onejob.model.jsonfile import load_json, parse_json
from onejob.model.noun import Noun
from onejob.model.profile import How
from onejob.model.syscalls import call_name

# No run makes more of anything; sums of such numbers still fit into what a profile can count.
Number = Annotated[int, Field(ge=0, lt=2**48)]
Words = Annotated[str, Field(max_length=200)]
Errno = Annotated[str, Field(pattern="^[0-9]{1,4}$")]
UNKNOWN_ERROR = "0"  # of failures that were only counted
Role = Literal["path", "from", "to", "exec", "map", "bind", "connect"]

_OPENS = {"open", "openat", "openat2", "creat"}
_REMOVES = {"unlink", "unlinkat", "rmdir"}
_CREATES = {"mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat"}
_CHANGES = {
    "chmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchownat", "truncate", "utime", "utimes",
    "futimesat", "utimensat", "setxattr", "lsetxattr", "removexattr", "lremovexattr", "setxattrat",
    "removexattrat",
}  # fmt: skip


class ProgramSeen(Noun):
    """A distinct executable."""

    id: Number
    path: str


class CallsSeen(Noun):
    """How often a program made a call in a drill; `errors` maps errno to a count."""

    program: Number
    drill: Number
    nr: Number
    count: Number
    errors: dict[Errno, Number] = Field(default_factory=dict)


class StageSeen(Noun):
    """Of a program's calls in a drill, those of workers or others, before or after they settled."""

    program: Number
    drill: Number
    nr: Number
    worker: bool = False
    settled: bool = False
    count: Number


class FactSeen(Noun):
    """Selected arguments of a call."""

    program: Number
    drill: Number
    nr: Number
    args: tuple[Annotated[int, Field(ge=0, lt=2**64)], ...]
    count: Number
    failed: Number = 0


class FileSeen(Noun):
    """A path that was handed to the kernel, and what the kernel said."""

    program: Number
    drill: Number
    nr: Number
    role: Role
    path: str
    error: Number = 0
    flags: int = 0
    created: bool = False
    count: Number

    @property
    def call(self) -> str:
        """The name of the call."""
        return call_name(self.nr)


class ThroughSeen(Noun):
    """Of a program's calls in a drill, those by an instruction of `object`, also a program id."""

    program: Number
    drill: Number
    nr: Number
    object: Number
    count: Number


class TrafficSeen(Noun):
    """Operations of one call on one object; see onejob.model.profile.Traffic."""

    program: Number
    drill: Number
    nr: Number
    object: str
    component: str
    count: Number
    bytes: Number = 0
    jumps: Number = 0


class ListenerSeen(Noun):
    """A socket that was listened on."""

    program: Number
    drill: Number
    family: Number
    type: Number
    address: str
    port: Number = 0
    backlog: Number = 0
    queue_peak: Number = 0
    accepted: Number = 0


class CapabilitySeen(Noun):
    """The kernel's question whether a program has a capability (linux/capability.h)."""

    program: Number
    drill: Number
    capability: Annotated[int, Field(ge=0, lt=64)]
    count: Number
    refused: Number = 0


class IdentitySeen(Noun):
    """Effective ids that a program had."""

    program: Number
    drill: Number
    uid: Number
    gid: Number
    no_new_privs: bool = False


class StartSeen(Noun):
    """A thread, process or program that a program started."""

    program: Number
    child: Number
    drill: Number
    how: Literal["thread", "fork", "exec"]
    count: Number


class InterfaceSeen(Noun):
    """A file system that was mounted, or a module that the kernel asked for, by name."""

    program: Number
    drill: Number
    kind: Literal["filesystem", "module"]
    name: str
    count: Number


class ProgramPeakSeen(Noun):
    """Most at once of one program."""

    program: Number
    processes: Number = 0
    threads: Number = 0
    descriptors: Number = 0


class Peaks(Noun):
    """Most alive at once."""

    processes: Number = 0
    threads: Number = 0
    sockets: Number = 0
    descriptors: Number = 0
    pipes: Number = 0


class HostSeen(Noun):
    """The machine that recorded, as the service saw it."""

    machine: str
    kernel: str
    libc: str
    distribution: str


class ContentSeen(Noun):
    """What was in a file that the service only read, there."""

    path: str
    size: Number
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Recording(Noun):
    """Everything that the probe saw of one run; `unknown` is what its backend cannot see."""

    format: Literal[2]
    backend: Literal["ebpf", "ptrace", "import"]
    drills: tuple[str, ...]
    lost: dict[str, Number]
    unknown: Annotated[tuple[Words, ...], Field(max_length=20)] = ()
    programs: tuple[ProgramSeen, ...]
    calls: tuple[CallsSeen, ...]
    stages: tuple[StageSeen, ...] = ()
    facts: tuple[FactSeen, ...]
    files: tuple[FileSeen, ...]
    through: tuple[ThroughSeen, ...] = ()
    traffic: tuple[TrafficSeen, ...] = ()
    listeners: tuple[ListenerSeen, ...] = ()
    capabilities: tuple[CapabilitySeen, ...] = ()
    identities: tuple[IdentitySeen, ...] = ()
    starts: tuple[StartSeen, ...] = ()
    interfaces: tuple[InterfaceSeen, ...] = ()
    peaks: Peaks
    program_peaks: tuple[ProgramPeakSeen, ...] = ()
    host: HostSeen | None = None
    contents: tuple[ContentSeen, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Whatever a row refers to is there."""
        programs = {program.id for program in self.programs}
        for row in self.rows():
            if row.program not in programs or row.drill >= len(self.drills):
                raise ValueError(f"program {row.program} or drill {row.drill} is not in it")
        others = {row.object for row in self.through} | {row.child for row in self.starts}
        others |= {row.program for row in self.program_peaks}
        if others - programs:
            raise ValueError(f"program {min(others - programs)} is not in it")
        return self

    def rows(self) -> "Iterator[Seen]":
        """Everything that belongs to a program and a drill."""
        yield from chain(
            self.calls, self.stages, self.facts, self.files, self.through, self.traffic,
            self.listeners, self.capabilities, self.identities, self.starts, self.interfaces,
        )  # fmt: skip


Seen = (
    CallsSeen | StageSeen | FactSeen | FileSeen | ThroughSeen | TrafficSeen | ListenerSeen
    | CapabilitySeen | IdentitySeen | StartSeen | InterfaceSeen
)  # fmt: skip


def read_recording(path: Path) -> Recording:
    """Read what the probe wrote; InputError where it is not whole."""
    return load_json(path, Recording, "recording")


def parse_recording(text: str, path: Path) -> Recording:
    """The same for text in hand, from the file `path`."""
    return parse_json(text, Recording, f"recording {path}")


def normal_path(path: str) -> str:
    """`path` with doubled slashes and ``.`` gone; ``..`` is kept, a symlink may stand before it."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def ways_of(seen: FileSeen) -> tuple[How, ...]:
    """How the file was used, in the profile's words."""
    if seen.error:
        gone = seen.error in (errno.ENOENT, errno.ENOTDIR)
        return ("missing",) if gone and seen.role != "to" else ()
    roles: dict[str, tuple[How, ...]] = {
        "exec": ("executed",), "map": ("mapped",), "bind": ("bound",), "connect": ("connected",),
    }  # fmt: skip
    if seen.role in roles:
        return roles[seen.role]
    if seen.call in _OPENS:
        return _open_ways(seen)
    return (_other_way(seen),)


def _open_ways(seen: FileSeen) -> tuple[How, ...]:
    flags = seen.flags | (os.O_WRONLY | os.O_CREAT | os.O_TRUNC if seen.call == "creat" else 0)
    if flags & os.O_PATH:
        return ("looked-up",)
    if flags & os.O_DIRECTORY:
        return ("listed",)
    ways: list[How] = ["created"] if seen.created else []
    access = flags & os.O_ACCMODE
    if access != os.O_WRONLY:
        ways.append("read")
    if access != os.O_RDONLY:
        ways.append("appended" if flags & os.O_APPEND else "written")
    return tuple(ways)


def _other_way(seen: FileSeen) -> How:
    name = seen.call
    if name.startswith("rename"):
        return "renamed-from" if seen.role == "from" else "renamed-to"
    if name in ("link", "linkat"):
        return "linked" if seen.role == "from" else "created"
    if name in _REMOVES:
        return "removed"
    if name in _CREATES:
        return "created"
    return "changed" if name in _CHANGES else "looked-up"


def kind_of(mode: int) -> Literal["file", "directory", "symlink", "device", "socket", "pipe"]:
    """The profile's word for a file type (inode(7))."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "pipe" if stat.S_ISFIFO(mode) else "device"
