"""What running systems leave on a machine: processes, mounts, namespaces, devices, folders.

Mounts, loop devices, folders and processes of ours have ``onejob`` in their path, name or mark:
that is how they are told apart from what else happens on the machine meanwhile.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

RUN_MARK = "ONEJOB_TEST_RUN"  # in the environment of all that the test session starts
TEMP_PATTERNS = ("/tmp/onejob-*", "/run/onejob*", "/var/tmp/onejob-*", "/dev/shm/onejob-*")
CGROUP_PATTERNS = ("/sys/fs/cgroup/onejob*", "/sys/fs/cgroup/*/onejob*")


class Snapshot(NamedTuple):
    """Everything found at one moment, each thing in words that name it."""

    taken: int
    """Clock ticks since boot."""
    networks: frozenset[str]
    things: frozenset[str]


class ProcessState(NamedTuple):
    """One line of ``ps``, so to say."""

    pid: int
    parent: int
    start: int
    command: str
    network: str
    marked: bool
    """Its environment, its cgroup or its program says that it is ours."""


snapshot_key = pytest.StashKey[Snapshot]()


def take_snapshot() -> Snapshot:
    """The machine as it is now."""
    networks = frozenset(process.network for process in _processes())
    things = {*_mounts(), *_loops(), *_namespaces(), *_interfaces(), *_folders()}
    return Snapshot(_ticks_now(), networks, frozenset(things))


def leaks_since(before: Snapshot) -> list[str]:
    """What is there now, is ours, and was not there at `before`."""
    now = take_snapshot()
    return sorted(now.things - before.things) + _leaked_processes(before)


def _leaked_processes(before: Snapshot) -> list[str]:
    """Ours: children of this session, marked, in a new network; and the children of those."""
    me = os.getpid()
    ours: dict[int, str] = {}
    for process in sorted(_processes(), key=lambda p: (p.start, p.pid)):
        new = process.start > before.taken and process.pid != me
        moved = process.network not in before.networks
        if new and (process.marked or moved or process.parent in {*ours, me}):
            ours[process.pid] = process.command
    return [f"process {pid}: {command}" for pid, command in ours.items()]


def _processes() -> Iterator[ProcessState]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = _process(folder)
        except OSError:  # it has ended meanwhile
            continue
        if state is not None:
            yield state


def _process(folder: Path) -> ProcessState | None:
    """None for zombies and kernel threads: their command line is empty."""
    words = (folder / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    if words == [""]:
        return None
    # The program's name may hold spaces and brackets; the numbers come after the last bracket.
    numbers = (folder / "stat").read_text().rpartition(")")[2].split()
    environment = (folder / "environ").read_text(errors="replace").split("\0")
    marked = (
        f"{RUN_MARK}={os.getpid()}" in environment
        or "/onejob" in (folder / "cgroup").read_text()
        or Path(words[0]).name.startswith("onejob-")
    )
    network = os.readlink(folder / "ns/net")
    parent, start = int(numbers[1]), int(numbers[19])
    return ProcessState(int(folder.name), parent, start, " ".join(words), network, marked)


def _ticks_now() -> int:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return int(uptime * os.sysconf("SC_CLK_TCK"))


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if "onejob" in line:
            yield f"mount {line.split(' ', 4)[4]}"


def _loops() -> Iterator[str]:
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        backing = path.read_text().strip()
        if "onejob" in backing:
            yield f"loop device {path.parts[3]}: {backing}"


def _namespaces() -> Iterator[str]:
    yield from (f"network namespace {path.name}" for path in Path("/run/netns").glob("*"))


def _interfaces() -> Iterator[str]:
    yield from (f"network interface {path.name}" for path in Path("/sys/class/net").glob("*"))


def _folders() -> Iterator[str]:
    for pattern in (*TEMP_PATTERNS, *CGROUP_PATTERNS):
        yield from (f"folder or file {path}" for path in Path("/").glob(pattern[1:]))
