"""The policy of a Plan: the calls, arguments, files and ports that the service may use, and why."""

from typing import Annotated, Literal

from pydantic import Field

from onejob.model.noun import Noun
from onejob.model.paths import AbsolutePath
from onejob.model.profile import Role

PortUse = Literal["listen", "connect"]
# What becomes of whoever makes a call that it may not: the call fails with EPERM, the process is
# killed, or the call is counted and let through. `off`: no filter at all, to compare with.
Denied = Literal["eperm", "kill", "audit", "off"]
ArgumentNumber = Annotated[int, Field(ge=0, le=5)]
Word = Annotated[int, Field(ge=0, lt=2**64)]
ArgumentValues = tuple[Word, ...]
# A kernel without Landlock ends the start, or is said on the console; or nobody asks for it.
Landlock = Literal["required", "optional", "none"]
# Access rights of Landlock (LANDLOCK_ACCESS_FS_* of linux/landlock.h); reading is not restricted.
Right = Literal[
    "execute", "write-file", "remove-dir", "remove-file", "make-dir", "make-reg", "make-sock",
    "make-fifo", "make-sym", "refer", "truncate",
]  # fmt: skip


class CallDecision(Noun):
    """A system call that the policy allows."""

    name: str
    number: int
    reason: str


class ArgumentCheck(Noun):
    """A call that is allowed only with arguments that, under `masks`, are one of `values`.

    `values` None: with any, and `reason` says why. It is what all programs together may do.
    """

    call: str
    arguments: tuple[ArgumentNumber, ...]
    masks: tuple[Word, ...]
    values: tuple[ArgumentValues, ...] | None
    reason: str


class AnsweredCall(Noun):
    """A call that the policy answers with an error of its own, as if the kernel lacked it."""

    name: str
    number: int
    errno: Literal["ENOSYS"]
    reason: str


class CheckedCall(Noun):
    """Of a call that has an ArgumentCheck, what one cell of the matrix allows."""

    call: str
    values: tuple[ArgumentValues, ...]


class MatrixRow(Noun):
    """Which calls the processes of `program` in `role` may make, by number.

    `boot` from their execve or fork on, `serve` from when they settle (onejob.model.profile); it is
    empty where none was seen to. Of calls in `boot_arguments` and `serve_arguments` only with
    these values; all others with any arguments.
    """

    program: AbsolutePath
    role: Role = "main"
    boot: tuple[str, ...]
    serve: tuple[str, ...] = ()
    boot_arguments: tuple[CheckedCall, ...] = ()
    serve_arguments: tuple[CheckedCall, ...] = ()


class Grant(Noun):
    """What processes of `program` may do to `path`, or below it, that all else is refused."""

    program: AbsolutePath
    path: AbsolutePath
    rights: tuple[Right, ...]
    reason: str


class Log(Noun):
    """A file that can only be extended, once the service has settled.

    `changes`: the service gives it owner or mode, also when it opens it anew.
    """

    path: AbsolutePath
    changes: bool = False
    reason: str


class Capability(Noun):
    """A capability that the service keeps (capabilities(7))."""

    name: str
    number: int
    reason: str


class TcpPort(Noun):
    """A port that the service may `use`; 0 is for letting the kernel choose one."""

    use: PortUse
    port: Annotated[int, Field(ge=0, le=65535)]
    reason: str


class Network(Noun):
    """Ports of TCP. A use that is `restricted` is allowed for those of `ports` alone."""

    restricted: tuple[PortUse, ...] = ()
    ports: tuple[TcpPort, ...] = ()
