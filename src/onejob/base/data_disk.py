"""Disk images for the data of a service: an empty ext4."""

import os
from pathlib import Path

from onejob.base.process import find_tool, run_tool
from onejob.model.errors import LacksError

DATA_MIB = 64
# No blocks kept for root; quotas by project, so that logs can be given their share.
_FILE_SYSTEM = ["-m", "0", "-L", "onejob-data", "-O", "quota,project", "-E"]
_QUOTA = "quotatype=prjquota"


def make_data_disk(path: Path, size_mib: int, identity: str = "") -> None:
    """A sparse disk image at `path` with an empty ext4; whole, or not there.

    With `identity`, a UUID, the same bytes each time.
    """
    mkfs = find_tool("mkfs.ext4", "e2fsprogs")
    words, environment = [_QUOTA], None
    if identity:
        words = [f"{_QUOTA},hash_seed={identity}", "-U", identity]
        environment = {**os.environ, "E2FSPROGS_FAKE_TIME": "1"}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("xb") as file:
            os.truncate(file.fileno(), size_mib * 1024 * 1024)
        run_tool(
            [mkfs, "-q", "-F", *_FILE_SYSTEM, *words, partial], timeout=60, environment=environment
        )
        partial.rename(path)
    except OSError as error:
        raise LacksError(f"data disk {path}: {error.strerror}", "free some space") from error
    finally:
        partial.unlink(missing_ok=True)
