"""Accounts of this machine: names become the numbers that the kernel knows."""

import grp
import os
import pwd
from typing import NamedTuple

from onejob.model.errors import InputError


class Identity(NamedTuple):
    """What a process is: its user, its group, and its supplementary groups."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def text(self) -> str:
        """``UID:GID:GROUP,GROUP...``, to be handed to another program."""
        return f"{self.uid}:{self.gid}:{','.join(str(group) for group in self.groups)}"


ROOT = Identity(0, 0)


def identity_of(user: str) -> Identity:
    """What a login of `user` would be (initgroups(3)); InputError where there is no such account.

    Supplementary groups are without the account's own.
    """
    try:
        row = pwd.getpwnam(user)
    except KeyError:
        raise InputError(
            f"there is no account {user!r} on this machine",
            "install the package that makes it, or name another in the workload",
        ) from None
    groups = {*os.getgrouplist(user, row.pw_gid)} - {row.pw_gid}
    return Identity(row.pw_uid, row.pw_gid, tuple(sorted(groups)))


def group_of(name: str) -> int:
    """The number of a group; InputError where there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise InputError(f"there is no group {name!r} on this machine") from None
