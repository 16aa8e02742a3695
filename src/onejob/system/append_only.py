"""A data folder is its administrator's again: nothing in it can only be extended any more.

Source: ioctl_iflags(2).
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from onejob.model.plan import Plan

_GET_FLAGS, _SET_FLAGS, _APPEND = 0x8008_6601, 0x4008_6602, 0x20
_SAFE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW


def lift_append_only(plan: Plan, data: Path) -> None:
    """Of all files in the folders of the plan's logs; no link is followed, nobody waited for."""
    for folder in sorted({os.path.dirname(log.path) for log in plan.logs}):
        with suppress(OSError), _opened_below(data, folder) as directory:
            for name in os.listdir(directory):
                with suppress(OSError):
                    _lift(name, directory)


@contextmanager
def _opened_below(data: Path, path: str) -> Iterator[int]:
    """The folder `path` of the data partition, which is the service's: step by step."""
    with ExitStack() as stack:
        here = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, here)
        for name in path.strip("/").split("/"):
            here = os.open(name, _SAFE | os.O_DIRECTORY, dir_fd=here)
            stack.callback(os.close, here)
        yield here


def _lift(name: str, directory: int) -> None:
    file = os.open(name, _SAFE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return
        flags = int.from_bytes(fcntl.ioctl(file, _GET_FLAGS, bytes(8))[:4], "little")
        if flags & _APPEND:
            fcntl.ioctl(file, _SET_FLAGS, (flags & ~_APPEND).to_bytes(8, "little"))
    finally:
        os.close(file)
