"""FAT file systems, which firmware and boot loader read: made whole from files, never mounted."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from onejob.base.process import find_tool, run_tool

MIB = 1024 * 1024
_LIMIT_S = 120
# Where firmware looks when nobody told it anything (UEFI specification 2.10, 3.5.1.1).
BOOT_PATH = "EFI/BOOT/BOOTX64.EFI"
# FAT begins in 1980.
_EPOCH = 315619200
# The least for FAT32 with clusters of one sector, which is what the specification wants of a disk.
_FAT32_MIB = 34
_ENVIRONMENT = {"SOURCE_DATE_EPOCH": str(_EPOCH), "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}


def make_esp(program: Path, target: Path, size_mib: int) -> None:
    """The new FAT image `target` with `program` at BOOT_PATH: same program, same bytes."""
    make_fat({BOOT_PATH: program}, target, size_mib, "ESP")


def make_fat(files: Mapping[str, Path], target: Path, size_mib: int, label: str) -> None:
    """The new FAT image `target` with `files` by their paths in it: same files, same bytes."""
    with target.open("xb") as file:
        os.truncate(file.fileno(), size_mib * MIB)
    mkfs = find_tool("mkfs.vfat", "dosfstools")
    kind = ["-F", "32", "-s", "1"] if size_mib >= _FAT32_MIB else []
    run_tool([mkfs, "--invariant", *kind, "-n", label, target], timeout=_LIMIT_S)
    if folders := _folders(files):
        _run(find_tool("mmd", "mtools"), "-i", target, *(f"::/{name}" for name in folders))
    mcopy = find_tool("mcopy", "mtools")
    with tempfile.TemporaryDirectory(prefix="onejob-") as scratch:
        copied = Path(scratch, "file")  # the time of the caller's own stays what it is
        for path, source in files.items():
            shutil.copyfile(source, copied)
            os.utime(copied, (_EPOCH, _EPOCH))
            _run(mcopy, "-m", "-i", target, copied, f"::/{path}")


def read_fat(image: Path, names: Iterable[str], folder: Path) -> None:
    """Copy `names` from the top of the FAT `image` into `folder`; BuildError without one."""
    mcopy = find_tool("mcopy", "mtools")
    for name in names:
        _run(mcopy, "-n", "-i", image, f"::/{name}", folder / name)


def _folders(files: Mapping[str, Path]) -> list[str]:
    """Each folder after the one that it is in."""
    parents = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    return sorted(parents - {"."})


def _run(*words: str | Path) -> None:
    run_tool(words, timeout=_LIMIT_S, environment={**os.environ, **_ENVIRONMENT})
