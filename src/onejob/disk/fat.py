"""The file system that UEFI firmware starts from: FAT with one EFI program, never mounted."""

import os
from pathlib import Path

from onejob.base.process import find_tool, run_tool

MIB = 1024 * 1024
_LIMIT_S = 120
# Where firmware looks when nobody told it anything (UEFI specification 2.10, 3.5.1.1).
BOOT_PATH = "EFI/BOOT/BOOTX64.EFI"
# FAT begins in 1980.
_EPOCH = 315619200


def make_esp(program: Path, target: Path, size_mib: int) -> None:
    """The new FAT image `target` with `program` at BOOT_PATH: same program, same bytes."""
    with target.open("xb") as file:
        os.truncate(file.fileno(), size_mib * MIB)
    mkfs = find_tool("mkfs.vfat", "dosfstools")
    kind = ["-F", "32", "-s", "1"] if size_mib >= 34 else []
    run_tool([mkfs, "--invariant", *kind, "-n", "ESP", target], timeout=_LIMIT_S)
    os.utime(program, (_EPOCH, _EPOCH))
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(_EPOCH),
        "MTOOLS_SKIP_CHECK": "1",
        "TZ": "UTC",
    }
    mmd, mcopy = find_tool("mmd", "mtools"), find_tool("mcopy", "mtools")
    run_tool(
        [mmd, "-i", target, "::/EFI", "::/EFI/BOOT"], timeout=_LIMIT_S, environment=environment
    )
    copy: list[str | Path] = [mcopy, "-m", "-i", target, program, f"::/{BOOT_PATH}"]
    run_tool(copy, timeout=_LIMIT_S, environment=environment)
