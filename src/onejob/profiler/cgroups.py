"""Cgroups, in version 2 and in the hierarchies of version 1 (cgroups(7)): who is in them."""

import os
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_MAX_DEPTH = 12


class Cgroup(NamedTuple):
    """A cgroup: its path in its hierarchy, and the folder that it is."""

    path: Path
    folder: Path


def hierarchies() -> list[Path]:
    """Mounted cgroup file systems, version 2 first: there all of a service is in one place."""
    rows = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    mounts = [(row[2], Path(row[1])) for row in rows if row[2] in ("cgroup2", "cgroup")]
    return [path for _, path in sorted(mounts, key=lambda mount: mount[0] != "cgroup2")]


def all_cgroups() -> Iterator[Cgroup]:
    """Every cgroup of every hierarchy."""
    for root in hierarchies():
        for folder, folders, _ in os.walk(root):
            path = Path(folder).relative_to(root)
            if len(path.parts) >= _MAX_DEPTH:
                folders.clear()
            yield Cgroup(path, Path(folder))


def members(folder: Path) -> set[int]:
    """The processes in a cgroup and below it; without those of another PID namespace."""
    pids: set[int] = set()
    for path, _, _ in os.walk(folder):
        with suppress(OSError):
            pids |= {int(pid) for pid in Path(path, "cgroup.procs").read_text().split()}
    return pids - {0}


def oldest(pids: Set[int]) -> int:
    """The main process of some: the first of those whose parent is not among them."""
    starts = {pid: _start(pid) for pid in pids}
    heads = [(start[1], pid) for pid, start in starts.items() if start and start[0] not in pids]
    return min(heads)[1] if heads else min(pids)


def _start(pid: int) -> tuple[int, int] | None:
    """The parent, and the time of the start (proc(5), stat); None for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[19])
