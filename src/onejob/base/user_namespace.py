"""Rights without root: a user namespace of our own, in which mounts and networks can be made.

Whoever enters one has every capability over what is made inside it, and over nothing else of the
machine (user_namespaces(7)). Users keep their numbers, so that files and processes look as they
did; all other users' files are nobody's there.
"""

import ctypes
import os
from pathlib import Path

from onejob.base import linux
from onejob.model.errors import LacksError

# Handed on over execve, to what makes the sandbox (an overlay's own folders are closed to all but
# CAP_DAC_OVERRIDE) and to what enters its network.
_KEPT = {
    "CAP_DAC_OVERRIDE": 1, "CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21,
}  # fmt: skip
_VERSION_3 = 0x20080522  # linux/capability.h: sets of 64 bits, in two halves
_PR_CAP_AMBIENT, _RAISE, _CLEAR_ALL = 47, 2, 4


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct of capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """struct __user_cap_data_struct of capset(2)."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def enter_user_namespace() -> None:
    """Move this process, which must have no other thread yet, into a user namespace of its own.

    What it starts has its capabilities there, until `drop_capabilities`. LacksError where the
    machine does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        linux.unshare(linux.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")  # before a group can be mapped
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        _keep_capabilities()
    except OSError as error:
        raise LacksError(
            f"no user namespace can be made: {error.strerror}",
            "look at user.max_user_namespaces, kernel.unprivileged_userns_clone and"
            " kernel.apparmor_restrict_unprivileged_userns (sysctl)",
        ) from error


def _keep_capabilities() -> None:
    mask = sum(1 << number for number in _KEPT.values())
    sets = (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))
    linux.check(linux.libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), sets), "capset")
    for number in _KEPT.values():
        linux.check(linux.libc.prctl(_PR_CAP_AMBIENT, _RAISE, number, 0, 0), "prctl")


def drop_capabilities() -> None:
    """From the next execve on, no capability is handed on to whoever is not root (prctl(2))."""
    linux.libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    sets = (_Sets * 2)(_Sets(0, 0, 0), _Sets(0, 0, 0))
    linux.libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), sets)
