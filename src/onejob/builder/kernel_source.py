"""The distribution's kernel source: found, unpacked once, and what it says of itself."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from onejob.model.errors import BuildError, LacksError

UNPACK_LIMIT_S = 900
QUERY_LIMIT_S = 30

_ARCHIVE_NAME = re.compile(r"linux-source-(6(?:\.\d+)+)\.tar\.(?:xz|zst|bz2|gz)")
# A row of syscall_64.tbl: number, ABI, name and, where the call still exists, its entry point.
_CALL_ROW = re.compile(r"(?m)^\d+[ \t]+(?:common|64)[ \t]+\w+[ \t]+\w+")


@dataclass(frozen=True)
class SourceArchive:
    """A kernel source as the distribution's package brings it."""

    path: Path
    package: str
    """Package name and version, e.g. ``linux-source-6.12 6.12.117-1``; only the name if unknown."""
    key: str
    """Changes whenever the archive's content can have changed."""


@dataclass(frozen=True)
class KernelSource:
    """An unpacked source tree; read only, all building happens in another folder."""

    archive: SourceArchive
    tree: Path
    release: str


def find_source(folder: Path) -> SourceArchive:
    """The newest Linux 6.x source archive in `folder`.

    Raises LacksError that names the package to install.
    """
    found = [
        (version, path) for path in folder.glob("linux-source-*") if (version := _version(path))
    ]
    if not found:
        raise LacksError(
            f"no Linux 6 source in {folder} (linux-source-6.*.tar.xz)",
            hint="apt-get install linux-source-6.12 (or any other linux-source-6.*)",
        )
    path = max(found)[1]
    name = path.name.partition(".tar.")[0]
    package = f"{name} {_package_version(name)}".strip()
    stat = path.stat()
    # Hashing 150 MB would take longer than all else on the cached way.
    seen = f"{path.name} {stat.st_size} {stat.st_mtime_ns} {package}"
    return SourceArchive(path, package, hashlib.sha256(seen.encode()).hexdigest()[:16])


def _version(path: Path) -> tuple[int, ...]:
    match = _ARCHIVE_NAME.fullmatch(path.name)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _package_version(name: str) -> str:
    """The version that dpkg knows for package `name`; empty where there is no dpkg or no such."""
    try:
        answer = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=QUERY_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def unpack_source(archive: SourceArchive, folder: Path) -> KernelSource:
    """The tree of `archive` below `folder`, unpacked now unless it already is.

    The caller holds the build lock, so leftovers of an interrupted unpacking can go.
    """
    tree = folder / archive.key
    if not tree.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".partial-*"):
            shutil.rmtree(leftover)
        _unpack(archive.path, tree)
    return KernelSource(archive, tree, source_release(tree))


def _unpack(archive: Path, tree: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=tree.parent))
    try:
        _run_tar(archive, partial)
        os.rename(partial, tree)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _run_tar(archive: Path, into: Path) -> None:
    command = ["tar", "--extract", "--file", str(archive), "--directory", str(into)]
    try:
        # run() kills and reaps tar on a timeout and on Ctrl-C alike; its decompressor gets EPIPE.
        done = subprocess.run(
            [*command, "--strip-components=1", "--no-same-owner"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=UNPACK_LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"unpacking {archive} took over {UNPACK_LIMIT_S} s") from error
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[:1] or [f"tar exit status {done.returncode}"]
        raise BuildError(
            f"cannot unpack {archive}: {reason[0]}",
            hint=f"free space below {into.parent}, or reinstall the source package",
        )


def source_release(tree: Path) -> str:
    """``VERSION.PATCHLEVEL.SUBLEVEL`` from the tree's top Makefile."""
    text = (tree / "Makefile").read_text()
    parts = [re.search(rf"(?m)^{name} = (\d+)$", text) for name in _RELEASE_PARTS]
    numbers = [part[1] for part in parts if part is not None]
    if len(numbers) != len(_RELEASE_PARTS):
        raise BuildError(f"{tree}/Makefile: no kernel version in it; not a kernel source?")
    return ".".join(numbers)


_RELEASE_PARTS = ("VERSION", "PATCHLEVEL", "SUBLEVEL")


def kernel_call_count(tree: Path) -> int:
    """How many system calls the source at `tree` has for 64-bit x86 programs.

    Counts the rows of ABI ``common`` and ``64`` that have an entry point: rows of removed calls
    have none, ``x32`` rows are for another kind of program.
    """
    return len(_CALL_ROW.findall((tree / "arch/x86/entry/syscalls/syscall_64.tbl").read_text()))
