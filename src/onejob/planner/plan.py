"""Profile + Hardware + components -> Plan. Pure: same input, same bytes; no I/O."""

from collections.abc import Sequence
from typing import Any

from onejob.model.catalogue import Catalogue
from onejob.model.component import Component
from onejob.model.errors import InputError
from onejob.model.hardware import Hardware
from onejob.model.plan import (
    LeftOut,
    Machine,
    MemoryArray,
    MemoryManager,
    Mount,
    Plan,
    RootFormat,
    Service,
    Trust,
)
from onejob.model.plan_policy import Capability, Landlock, Log
from onejob.model.profile import Profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import SIGNALS, Workload
from onejob.planner.absent import plan_absent
from onejob.planner.accounts import account_named, account_texts, idle_libraries, service_folders
from onejob.planner.arguments import (
    Chosen,
    answer_calls,
    checks_of,
    component_grants,
    grants_of_all,
    plan_argument_checks,
)
from onejob.planner.capabilities import plan_capabilities
from onejob.planner.choices import NO_MEMORY_MANAGER, USUAL, Choices
from onejob.planner.commands import set_id_programs, unused_commands
from onejob.planner.components import choose_components, kernel_arguments, kernel_options
from onejob.planner.core_files import with_core_files
from onejob.planner.dimensions import interrupts_apart, plan_dimensions, processors_option
from onejob.planner.drivers import Search, driver_options, driver_warnings, search_drivers
from onejob.planner.evidence import Evidence, in_order
from onejob.planner.files import plan_files, plan_mounts
from onejob.planner.grants import mounting_call, plan_grants
from onejob.planner.job import grant_block_devices, plan_job, widen_memory
from onejob.planner.logs import plan_logs
from onejob.planner.matrix import plan_matrix
from onejob.planner.memory import plan_memory, with_head_room
from onejob.planner.memory_manager import (
    manager_changes,
    manager_files,
    manager_kib,
    manager_mounts,
    manager_natives,
    plan_manager,
)
from onejob.planner.policy import plan_calls, plan_settings
from onejob.planner.ports import plan_network
from onejob.planner.ready import plan_ready
from onejob.planner.restart import plan_restart
from onejob.planner.share import plan_space, share_logs

ROOT_FORMAT = RootFormat(
    filesystem="squashfs",
    compression="zstd",
    block_size=262144,
    reason="measured: 25 % smaller than EROFS lz4hc, 0.3 s slower to the first answer",
)
# Kernel, process 1, file caches and buffers; nginx passes its rehearsal with less.
_SYSTEM_KIB = 24 * 1024
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_plan(
    profile: Profile,
    hardware: Hardware,
    components: Sequence[Component],
    choices: Choices = USUAL,
    catalogue: Catalogue | None = None,
) -> Plan:
    """Decide everything about one image; `catalogue` has drivers for what no component knows.

    Raises InputError for a profile from Windows, with lost events (unless `choices` accept them),
    without a workload, or whose needs contradict each other; and for hardware whose boot disk, or
    every network card, lacks a driver.
    """
    workload = _checked_workload(profile, choices.accept_lost)
    trust = choices.trust
    profile = in_order(_observed(profile) if trust == "observed" else profile)
    evidence = Evidence(profile)
    arrays, manager = _plan_memory(profile, workload, choices)
    mounts, logs, write_warnings = _plan_places(profile, workload, manager_mounts(manager, arrays))
    landlock, landlock_warnings = _landlock(choices.landlock, evidence)
    changes = manager_changes(manager, arrays)
    search = search_drivers(hardware, components, catalogue)
    chosen = _choose(components, evidence, hardware, mounts, trust, manager, landlock, search)
    lacks = driver_warnings(hardware, search, chosen)
    left_out = (*idle_libraries(profile), *unused_commands(profile, chosen))
    set_id = set_id_programs(profile, workload)
    machine = _plan_machine(hardware, profile, arrays)
    service = _plan_service(workload, profile, gains_rights=bool(set_id))
    network, network_warnings = plan_network(evidence, workload.ports)
    extra = (*service_folders(workload, profile), *manager_files(manager))
    files, noted = plan_files(profile, mounts, account_texts(profile), left_out, extra, set_id)
    plan = Plan(
        name=profile.name,
        trust=trust,
        architecture="x86_64",
        machine=machine,
        hardware=hardware,
        service=service,
        components=tuple(f"{name}: {reason}" for name, (_, reason) in chosen.items()),
        **_plan_kernel(evidence, machine, search, chosen),
        root=ROOT_FORMAT,
        files=files,
        left_out=left_out,
        mounts=mounts,
        **_plan_calls(profile, chosen, trust),
        landlock=landlock,
        grants=plan_grants(profile, mounts, files, changes) if landlock != "none" else (),
        logs=logs,
        **_plan_preloaded(profile, arrays, manager, mounts, left_out),
        dimensions=plan_dimensions(evidence, machine, chosen) + plan_space(profile, mounts, logs),
        settings=plan_settings(chosen),
        capabilities=_plan_capabilities(evidence, service),
        network=None if mounting_call(evidence) else network,
        denied=choices.denied,
        **_plan_life(workload),
        administrator=choices.administrator,
        warnings=(*write_warnings, *noted, *landlock_warnings, *network_warnings, *lacks),
    )
    return with_core_files(plan, profile, choices.core_dumps)


def _choose(
    components: Sequence[Component],
    evidence: Evidence,
    hardware: Hardware,
    mounts: tuple[Mount, ...],
    trust: Trust,
    manager: MemoryManager,
    landlock: Landlock,
    search: Search,
) -> Chosen:
    """The components, also those that the plan itself asks for."""
    natives, protections = manager_natives(manager), _protections(landlock, mounts)
    filesystems = _filesystems(mounts)
    return choose_components(
        components, evidence, hardware, filesystems, trust, natives, protections, search.sources()
    )


def _plan_places(
    profile: Profile, workload: Workload, more: tuple[Mount, ...]
) -> tuple[tuple[Mount, ...], tuple[Log, ...], tuple[str, ...]]:
    """Where the service can write, and `more`; its logs among that, and warnings about both."""
    mounts, refused = plan_mounts(profile)
    mounts = widen_memory(mounts, workload)
    logs = plan_logs(profile, mounts)
    mounts, unlimited = share_logs(profile, mounts, logs)
    return grant_block_devices(mounts + more, workload), logs, refused + unlimited


def _plan_capabilities(evidence: Evidence, service: Service) -> tuple[Capability, ...]:
    return plan_capabilities(
        evidence, as_root=not service.user, gains_rights=not service.no_new_privileges
    )


def _plan_memory(
    profile: Profile, workload: Workload, choices: Choices
) -> tuple[tuple[MemoryArray, ...], MemoryManager]:
    """The arrays, none where nobody would use them, and the memory manager."""
    if choices.memory == "none":
        return (), MemoryManager(reason=NO_MEMORY_MANAGER)
    arrays = plan_memory(profile)
    manager = plan_manager(profile, workload, arrays, choices.unsafe_free)
    return arrays if manager.kind == "static" else (), manager


def _plan_preloaded(
    profile: Profile,
    arrays: tuple[MemoryArray, ...],
    manager: MemoryManager,
    mounts: tuple[Mount, ...],
    left_out: tuple[LeftOut, ...],
) -> dict[str, Any]:
    """What the preloaded library is told: blocks, and paths that are no news."""
    programs = {array.program for array in arrays}
    absent = plan_absent(profile, programs, mounts, left_out)
    return {"memory": arrays, "memory_manager": manager, "absent": absent}


def _plan_life(workload: Workload) -> dict[str, Any]:
    """How often it is started again, by when it has to be ready, and what its end means."""
    return {
        "restart": plan_restart(workload),
        "ready": plan_ready(workload),
        "job": plan_job(workload),
    }


def _plan_kernel(
    evidence: Evidence, machine: Machine, search: Search, chosen: Chosen
) -> dict[str, Any]:
    """How the kernel is built and started."""
    more = (*driver_options(search, chosen), *processors_option(machine))
    return {
        "kernel_options": kernel_options(chosen, more),
        "kernel_arguments": (*kernel_arguments(chosen), *interrupts_apart(evidence, machine)),
    }


def _plan_calls(profile: Profile, chosen: Chosen, trust: Trust) -> dict[str, Any]:
    """The plan's calls, their arguments, and whose they are when."""
    checks = checks_of(chosen)
    called, answered = answer_calls(profile, chosen)
    calls = plan_calls(Evidence(called), chosen, trust)
    everywhere = grants_of_all(called, chosen, checks, trust)
    at_start = component_grants(chosen, checks, "boot")
    return {
        "calls": calls,
        "argument_checks": plan_argument_checks(
            called, calls, everywhere | at_start, checks, chosen
        ),
        "answered_calls": answered,
        "matrix": plan_matrix(called, calls, everywhere, checks, at_start),
    }


def _observed(profile: Profile) -> Profile:
    """Without what static completion named; what the observed files need stays."""
    return profile.model_copy(
        update={
            "files": tuple(file for file in profile.files if not file.named_by),
            "accounts": tuple(row for row in profile.accounts if row.origin != "static"),
            "groups": tuple(row for row in profile.groups if row.origin != "static"),
        }
    )


def _checked_workload(profile: Profile, accept_lost: bool) -> Workload:
    if profile.of_windows:
        raise InputError(
            f"profile of {profile.name}: it was seen on Windows; a plan is for Linux, where"
            f" {profile.program} does not run",
            "profile the service on Linux, and plan that; look at this one with: onejob explain",
        )
    if profile.events_lost and not accept_lost:
        raise InputError(
            f"profile of {profile.name}: {profile.events_lost} events were lost, it is not whole",
            "profile again, or accept the gap with --accept-lost-events",
        )
    if not profile.workload or not profile.program:
        raise InputError(
            "the profile names no service to start (no workload in it)",
            "take it with: onejob profile --workload FILE; what was seen without one is added by: "
            "onejob merge DRILLED THIS -o ALL",
        )
    workload = parse_toml(profile.workload, Workload, "workload in the profile")
    if workload.name != profile.name:
        raise InputError(f"profile of {profile.name!r}, but its workload is {workload.name!r}'s")
    return workload


def _landlock(wanted: Landlock, evidence: Evidence) -> tuple[Landlock, tuple[str, ...]]:
    """Whether Landlock restricts files: not of a service that mounts."""
    mounts = mounting_call(evidence)
    if wanted == "none" or mounts is None:
        return wanted, ()
    return "none", (f"the service calls {mounts}, so Landlock does not restrict it",)


def _protections(landlock: Landlock, mounts: tuple[Mount, ...]) -> set[str]:
    """What of the kernel's the plan puts to use."""
    found = set() if landlock == "none" else {"landlock"}
    return found | ({"project-quota"} if any(mount.kind == "data" for mount in mounts) else set())


def _filesystems(mounts: tuple[Mount, ...]) -> set[str]:
    kinds = {mount.kind for mount in mounts}
    return {
        ROOT_FORMAT.filesystem,
        f"{ROOT_FORMAT.filesystem}-{ROOT_FORMAT.compression}",
        *({"ext4"} if "data" in kinds else ()),
        *(kinds - {"data"}),
    }


def _plan_machine(hardware: Hardware, profile: Profile, arrays: tuple[MemoryArray, ...]) -> Machine:
    if hardware.architecture != "x86_64":
        raise InputError(
            f"hardware {hardware.name}: architecture {hardware.architecture!r}",
            "onejob builds for x86_64; give the hardware of such a machine",
        )
    disks = [disk.name for disk in hardware.disks if not disk.removable]
    if not disks:
        raise InputError(
            f"hardware {hardware.name} has no disk for the root",
            "survey the machine with its disks attached",
        )
    return Machine(
        hardware=hardware.name,
        how=hardware.how,
        processors=hardware.processors.count,
        memory_kib=_memory_kib(hardware, profile, arrays),
        least=1 if hardware.several else None,
        console=hardware.consoles[0] if hardware.consoles else "ttyS0",
        consoles=hardware.consoles if hardware.several else (),
        root_device=f"/dev/{disks[0]}",
        data_device=f"/dev/{disks[1]}" if len(disks) > 1 else "",
    )


def _memory_kib(hardware: Hardware, profile: Profile, arrays: tuple[MemoryArray, ...]) -> int:
    """A machine has what it has; a guest is given what the service held when profiled, and more."""
    wanted = _SYSTEM_KIB + with_head_room(profile.resident_kib) + manager_kib(profile, arrays)
    if hardware.how == "metal":
        if hardware.memory_kib < wanted:
            raise InputError(
                f"hardware {hardware.name}: {hardware.memory_kib // 1024} MiB of memory;"
                f" {profile.name} and its system need {wanted // 1024} MiB",
                "use a machine with more memory",
            )
        return hardware.memory_kib
    return max(hardware.memory_kib, -(-wanted // 1024) * 1024)


def _plan_service(workload: Workload, profile: Profile, *, gains_rights: bool) -> Service:
    environment = {"PATH": _PATH.partition("=")[2], **workload.environment}
    user = account_named(workload.user, profile)
    return Service(
        command=(profile.program, *workload.command[1:]),
        environment=tuple(f"{name}={value}" for name, value in sorted(environment.items())),
        directory=workload.directory,
        user=user.uid,
        group=user.gid,
        groups=tuple(g.gid for g in profile.groups if workload.user in g.members),
        hostname=workload.name,
        ports=workload.ports,
        settling=workload.settles,
        stop_signal=SIGNALS[workload.stop.signal],
        stop_timeout_ms=int(workload.stop.within * 1000),
        # A setuid program that the service runs would lose its rights (prctl(2)).
        no_new_privileges=not gains_rights,
    )
