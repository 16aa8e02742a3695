"""Accounts of this machine: names become the numbers that the kernel knows."""

import grp
import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from onejob.base.files import open_regular
from onejob.model.errors import InputError

_MAX_BYTES = 16 << 20
RowT = TypeVar("RowT")


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


def account_rows(path: Path = Path("/etc/passwd")) -> list[pwd.struct_passwd]:
    """The accounts of a file (passwd(5)); lines that are none are left out.

    Read here, because pwd would load the libraries of the name service, which in a container's
    root are the container's.
    """
    return _rows(path, lambda w: pwd.struct_passwd((*w[:2], int(w[2]), int(w[3]), *w[4:7])))


def group_rows(path: Path = Path("/etc/group")) -> list[grp.struct_group]:
    """The groups of a file (group(5)), likewise."""
    return _rows(
        path,
        lambda w: grp.struct_group((*w[:2], int(w[2]), [m for m in w[3].split(",") if m])),
    )


def _rows(path: Path, row: Callable[[list[str]], RowT]) -> list[RowT]:
    rows = []
    with suppress(OSError), open_regular(path) as file:
        for line in file.read(_MAX_BYTES).decode(errors="replace").splitlines():
            with suppress(ValueError, IndexError, TypeError):
                rows.append(row(line.split(":")))
    return rows
