"""The few kernel calls that Python 3.11 does not wrap: unshare(2), setns(2), mount(2), ..."""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from onejob.model.errors import LacksError

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
_SYS_PIVOT_ROOT = 155  # x86_64
_SYS_OPENAT2 = 437
_SYS_RT_SIGACTION = 13
_SYS_PIDFD_GETFD = 438
_SIGACTION_BYTES, _SIGSET_BYTES, _SIGNALS = 32, 8, 64  # the kernel's own, x86_64
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10

Value = TypeVar("Value")
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """OSError for `what` where a call of the C library did not return 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def need_root(what: str, otherwise: str = "") -> None:
    """LacksError where this is not root; `otherwise` is what to do without it."""
    if os.geteuid() != 0:
        hint = "run it with sudo, or as root"
        raise LacksError(f"{what} needs root", f"{hint}; {otherwise}" if otherwise else hint)


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(libc.unshare(flags), "unshare")


def setns(path: Path, kind: int) -> None:
    """setns(2) to the namespace that `path` names."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(libc.setns(fd, kind), f"setns {path}")
    finally:
        os.close(fd)


def mount(source: str, target: Path, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    words = (source.encode(), os.fsencode(target), kind.encode(), flags, data.encode())
    check(libc.mount(*words), f"mount {target}")


def unmount(target: Path, flags: int = 0) -> None:
    """umount2(2)."""
    check(libc.umount2(os.fsencode(target), flags), f"umount {target}")


def pivot_root(new: Path, old: Path) -> None:
    """pivot_root(2)."""
    check(libc.syscall(_SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old)), f"pivot_root {new}")


def pidfd_getfd(process: int, descriptor: int) -> int:
    """A copy, here, of `descriptor` in the process that the pidfd `process` names."""
    fd: int = libc.syscall(_SYS_PIDFD_GETFD, process, descriptor, 0)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"pidfd_getfd: {os.strerror(number)}")
    return fd


def reset_signals() -> None:
    """Give every signal its default action, just before an exec.

    By the system call itself, because signal(2) of the C library refuses 32 and 33, its own.
    """
    default = ctypes.create_string_buffer(_SIGACTION_BYTES)  # SIG_DFL, no flags, nothing blocked
    for number in range(1, _SIGNALS + 1):
        libc.syscall(_SYS_RT_SIGACTION, number, default, None, _SIGSET_BYTES)


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_in_root(root: int, path: str, flags: int) -> int:
    """Open `path` as a process would whose root directory is the descriptor `root`.

    Symbolic links, absolute ones too, stay below `root` (openat2(2), RESOLVE_IN_ROOT).
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    size = ctypes.sizeof(how)
    fd: int = libc.syscall(_SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), size)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return fd


def in_network(namespace: Path | None, work: Callable[[], Value]) -> Value:
    """Do `work` in a thread of its own that has entered `namespace` (None: right here).

    setns(2) for a network moves one thread only, so the rest of the program stays where it is.
    """
    if namespace is None:
        return work()
    done: list[Value] = []
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            setns(namespace, CLONE_NEWNET)
            done.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
