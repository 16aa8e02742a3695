"""Pack a folder as squashfs or EROFS: same folder, same bytes, whenever and wherever."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from onejob.base.process import find_tool, run_tool
from onejob.model.errors import BuildError
from onejob.model.plan import RootFormat

_LIMIT_S = 3600
MIN_BLOCK, MAX_BLOCK = 4096, 1024 * 1024

# Highest levels: a root is packed once and read often; decompression costs the same.
_SQUASHFS = {
    "gzip": ("-comp", "gzip", "-Xcompression-level", "9"),
    "lz4": ("-comp", "lz4", "-Xhc"),
    "xz": ("-comp", "xz"),
    "xz-x86": ("-comp", "xz", "-Xbcj", "x86"),  # the kernel needs XZ_DEC_X86 to read it
    "zstd": ("-comp", "zstd", "-Xcompression-level", "22"),
}
_EROFS = {"lz4": "-zlz4", "lz4hc": "-zlz4hc,12"}
# Any constant will do; without one each packing would differ.
_EROFS_UUID = "00000000-0000-0000-0000-000000000001"


def pack_tree(tree: Path, image: Path, form: RootFormat) -> None:
    """Pack `tree` into the new file `image`. BuildError for a format that onejob cannot pack."""
    check_block_size(form.block_size)
    command = squashfs_command if form.filesystem == "squashfs" else erofs_command
    run_tool(command(tree, image, form), timeout=_LIMIT_S, environment=_environment())


def check_block_size(size: int) -> None:
    """BuildError unless a kernel can mount such a root."""
    if not MIN_BLOCK <= size <= MAX_BLOCK or size & (size - 1):
        raise BuildError(f"plan: root block size {size}: must be a power of two, 4 KiB to 1 MiB")


def squashfs_command(tree: Path, image: Path, form: RootFormat) -> list[str]:
    """No extended attributes: the plan grants capabilities, files do not."""
    compression = _SQUASHFS.get(form.compression) or _unknown(form, _SQUASHFS)
    fixed = ["-noappend", "-no-xattrs", "-no-exports", "-mkfs-time", "0"]
    quiet = ["-quiet", "-no-progress", "-no-recovery", "-exit-on-error"]
    tool = find_tool("mksquashfs", "squashfs-tools")
    return [tool, str(tree), str(image), *compression, "-b", str(form.block_size), *fixed, *quiet]


def erofs_command(tree: Path, image: Path, form: RootFormat) -> list[str]:
    """`block_size` is the size of what is compressed together (a physical cluster)."""
    compression = _EROFS.get(form.compression) or _unknown(form, _EROFS)
    fixed = ["-T0", f"-U{_EROFS_UUID}", "-x-1", "--quiet"]
    tool = find_tool("mkfs.erofs", "erofs-utils")
    return [tool, compression, f"-C{form.block_size}", *fixed, str(image), str(tree)]


def _unknown(form: RootFormat, known: Iterable[str]) -> NoReturn:
    raise BuildError(
        f"plan: root as {form.filesystem} with {form.compression!r}",
        f"onejob packs {form.filesystem} with {', '.join(sorted(known))}",
    )


def _environment() -> dict[str, str]:
    """SOURCE_DATE_EPOCH left out: mksquashfs refuses it beside its own options."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C"}
