"""What runs already, as the user names it: a pid, a unit, a cgroup or a container -> processes."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field, ValidationError

from onejob.base.process import run_tool
from onejob.model.errors import BuildError, InputError
from onejob.model.noun import read_text
from onejob.model.workload import NAME_PATTERN
from onejob.profiler.cgroups import Cgroup, all_cgroups, hierarchies, members, oldest

# Where runtimes of the OCI keep `ID/state.json`.
_RUNC_STATES = (
    "/run/runc",
    "/run/docker/runtime-runc/moby",
    "/run/containerd/runc/*",
    "/run/user/*/runc",
)
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,254}")
_SHORT_ID = 12  # as docker and podman show them


class Running(NamedTuple):
    """A service that runs: its `main` process, and its cgroup's folder where it has its own."""

    name: str
    main: int
    cgroup: Path | None = None


def by_pid(pid: int) -> Running:
    """The process `pid` with its descendants; InputError where it is none that can be watched."""
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except FileNotFoundError as error:
        if os.path.exists(f"/proc/{pid}"):
            what = f"process {pid} has no program: it is a thread of the kernel, or has ended"
            raise InputError(what, "give the main process of a service") from error
        raise InputError(f"there is no process {pid}", "see `ps -e` for those that run") from error
    except OSError as error:
        raise InputError(
            f"process {pid}: {error.strerror}", "run it with sudo, or as root"
        ) from error
    return Running(service_name(os.path.basename(program.removesuffix(" (deleted)"))), pid)


def by_cgroup(path: str) -> Running:
    """The cgroup at `path`: a folder, or as the kernel names it (``/system.slice/x.service``)."""
    candidates = [Path(path), *(root / path.lstrip("/") for root in hierarchies())]
    found = [folder for folder in candidates if (folder / "cgroup.procs").is_file()]
    if not found:
        raise InputError(f"there is no cgroup {path!r}", "give a folder below /sys/fs/cgroup")
    return _inhabited(found, path.rstrip("/").rpartition("/")[2])


def by_unit(unit: str) -> Running:
    """A unit of systemd's; where systemd does not run, the cgroup of that name."""
    full = unit if "." in unit else f"{unit}.service"
    if not re.fullmatch(r"[\w.@:\\-]+", full):
        raise InputError(f"{unit!r} is not the name of a unit", "for example: nginx.service")
    name = full.rpartition(".")[0]
    if Path("/run/systemd/system").is_dir():
        return _of_systemd(full, name)
    named = [found for found in all_cgroups() if found.path.name == full]
    return _inhabited(_one(named, f"unit {full}"), name)


def by_container(identity: str) -> Running:
    """A container of runc's, podman's or docker's: its id, or the first 12 characters of it."""
    if not _CONTAINER_ID.fullmatch(identity):
        raise InputError(
            f"{identity!r} is not the id of a container", "see `docker ps` or `runc list`"
        )
    states = [path for pattern in _RUNC_STATES for path in _states(pattern, identity)]
    cgroups = [found for found in all_cgroups() if _is_of(identity, container_in(found.path.name))]
    known = {path.parent.name for path in states} | {container_in(f.path.name) for f in cgroups}
    if len(known) > 1:
        raise InputError(
            f"{identity!r} is the beginning of {len(known)} containers: {', '.join(sorted(known))}",
            "give more of the id",
        )
    if states:
        return of_runc(states[0], known.pop())
    return _inhabited(_one(cgroups, f"container {identity}"), known.pop() if known else "")


def _one(found: list[Cgroup], what: str) -> list[Path]:
    """The folders of the one cgroup that all of `found` are, in several hierarchies."""
    paths = sorted({str(each.path) for each in found if members(each.folder)})
    if not paths:
        raise InputError(f"{what} does not run here: no cgroup of that name has a process")
    if len(paths) > 1:
        raise InputError(f"{what} is not one cgroup: {', '.join(paths)}", "choose by --cgroup")
    return [each.folder for each in found if str(each.path) == paths[0]]


def _inhabited(folders: list[Path], name: str) -> Running:
    for folder in folders:
        if pids := members(folder):
            return Running(service_name(name), oldest(pids), folder)
    raise InputError(f"no process is in the cgroup {folders[0]}", "start the service first")


# --- who starts services -------------------------------------------------------------------------


def _of_systemd(unit: str, name: str) -> Running:
    words = ["systemctl", "show", "-p", "ControlGroup", "-p", "MainPID", unit]
    try:
        said = dict(
            line.split("=", 1) for line in run_tool(words, timeout=30).splitlines() if "=" in line
        )
    except (BuildError, OSError) as error:
        raise InputError(f"systemd does not tell of {unit}: {error}") from error
    if not said.get("ControlGroup"):
        raise InputError(f"unit {unit} does not run", f"start it: systemctl start {unit}")
    running = by_cgroup(said["ControlGroup"])
    return Running(
        service_name(name), int(said.get("MainPID", "0")) or running.main, running.cgroup
    )


class _RuncState(BaseModel):
    """What is of use here of runc's state.json."""

    init_process_pid: int = Field(gt=0)
    cgroup_paths: dict[str, str] = Field(default_factory=dict)


def _states(pattern: str, identity: str) -> list[Path]:
    wanted = identity if len(identity) < _SHORT_ID else f"{identity}*"
    return list(Path("/").glob(f"{pattern.lstrip('/')}/{wanted}/state.json"))


def of_runc(path: Path, name: str) -> Running:
    """The container of runc's whose state is at `path`; InputError where it does not run.

    By its cgroup, unless that is not the container's alone (runc without rights to make one)."""
    try:
        state = _RuncState.model_validate_json(read_text(path, "state of a container"))
    except ValidationError as error:
        raise InputError(f"state of a container {path}: not as runc writes it") from error
    if not os.path.exists(f"/proc/{state.init_process_pid}"):
        raise InputError(f"container {name} does not run", f"start it: runc start {name}")
    for folder in map(Path, sorted(state.cgroup_paths.values())):
        pids = members(folder)
        if state.init_process_pid in pids and 1 not in pids and os.getpid() not in pids:
            return Running(service_name(name), state.init_process_pid, folder)
    return Running(service_name(name), state.init_process_pid)


def container_in(name: str) -> str:
    """The container that has a cgroup named ``libpod-ID.scope``, ``docker-ID.scope`` or ``ID``."""
    bare = re.sub(r"^(libpod|docker|crio|cri-containerd|nerdctl)-", "", name.removesuffix(".scope"))
    return bare if re.fullmatch(r"[0-9a-f]{64}", bare) else ""


def _is_of(identity: str, found: str) -> bool:
    return bool(found) and (
        found == identity or (len(identity) >= _SHORT_ID and found.startswith(identity))
    )


def service_name(text: str) -> str:
    """`text` as a service may be called; ``service`` where nothing of it is left."""
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63]
    return name if re.match(NAME_PATTERN, name) else "service"
