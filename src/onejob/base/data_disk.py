"""Disk images for the data of a service: an empty ext4; and whose turn it is to use one."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onejob.base.process import find_tool, run_tool
from onejob.model.errors import InputError, LacksError
from onejob.model.plan import LEAST_DATA_MIB, Plan

# Of what is kept, for the file system's own tables and journal: small disks need as much.
_OWN = 6
# No blocks kept for root.
_FILE_SYSTEM = ["-m", "0", "-L", "onejob-data"]
# By project: so process 1 gives the logs their share.
_QUOTAS, _QUOTA_KIND = ["-O", "quota,project"], "quotatype=prjquota"

_NOT_ZEROED = ["nodiscard", "lazy_itable_init=1"]
# Of a large disk; the superblock has room for the places of a journal of up to 512 MiB.
_LARGE_MIB, _JOURNAL = 16 * 1024, ["-J", "size=256"]


def data_mib(plan: Plan) -> int:
    """How large a disk is made for data, the logs' share besides, and core files."""
    data_kib = max(LEAST_DATA_MIB * 1024, plan.data_kib)
    kept_kib = data_kib + plan.share_kib + plan.core_files_kib
    return -(-(kept_kib + kept_kib // _OWN) // 1024)


def make_data_disk(
    path: Path, size_mib: int, identity: str = "", *, quotas: bool = True, over: bool = False
) -> None:
    """A sparse disk image at `path` with an empty ext4; whole, or not there.

    With `identity`, a UUID, the same bytes each time. `quotas` need a kernel that has them. `over`:
    it will lie where something else was, so what was not written is not taken for zeros.
    """
    mkfs = find_tool("mkfs.ext4", "e2fsprogs")
    words, environment = list(_QUOTAS) if quotas else [], None
    extended = [_QUOTA_KIND] if quotas else []
    if over:
        extended += _NOT_ZEROED
        words += _JOURNAL if size_mib >= _LARGE_MIB else []
    if identity:
        words += ["-U", identity]
        extended.append(f"hash_seed={identity}")
        environment = {**os.environ, "E2FSPROGS_FAKE_TIME": "1"}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("xb") as file:
            os.truncate(file.fileno(), size_mib * 1024 * 1024)
        words += ["-E", ",".join(extended)] if extended else []
        run_tool(
            [mkfs, "-q", "-F", *_FILE_SYSTEM, *words, partial], timeout=60, environment=environment
        )
        partial.rename(path)
    except OSError as error:
        raise LacksError(f"data disk {path}: {error.strerror}", "free some space") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def locked_disk(path: Path) -> Iterator[int]:
    """A descriptor that keeps other instances from the disk image; whoever has a copy holds on.

    InputError where it cannot be a disk, or is in use.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        hint = "give a disk image that can be written"
        raise InputError(f"data disk {path}: {error.strerror}", hint) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError(f"data disk {path} is no file", "give a disk image")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError as error:
        hint = "stop that one, or give another disk"
        raise InputError(f"data disk {path}: another instance uses it", hint) from error
    finally:
        os.close(descriptor)
