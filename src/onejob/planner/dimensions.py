"""Everything that has a size: how large, from which fact of the profile or the hardware, and why.

Sizes of the kernel's that hold a whole system back (proc(5), Documentation/admin-guide/sysctl,
Documentation/networking/ip-sysctl.rst) are as large as the profile's peak with head-room, so that
what grows beyond that is refused to whoever grows, and not to everybody.
"""

from collections.abc import Iterable, Iterator, Mapping

from onejob.model.component import Component
from onejob.model.plan import Dimension, KernelArgument, KernelOption, Machine
from onejob.planner.affinity import interrupt_processors, schedule_dimensions
from onejob.planner.evidence import Evidence
from onejob.planner.memory import HEAD_ROOM_PERCENT

# Head-room over the profiled peak: a drill is shorter than a life.
HEAD_ROOM = 4
_TIMES = f"x {HEAD_ROOM}"
_MIN_DESCRIPTORS = 1024
_MAX_DESCRIPTORS = 1 << 20  # sysctl_nr_open of fs/file.c: setrlimit(2) refuses more
_MAX_TASKS = 1 << 22  # PID_MAX_LIMIT of linux/threads.h
# Kernel threads of a small system are about 30, and 6 more for each processor.
_KERNEL_THREADS, _THREADS_OF_PROCESSOR = 64, 16
_MAX_OPEN_FILES = 1 << 40
_MAX_WATCHES = 1 << 24
_PAGE_KIB = 4
# Of the machine's memory, what TCP may hold at most (net/ipv4/tcp.c has a sixteenth to a fifth).
_TCP_SHARE = 4
# The least and the most that one connection's buffers grow to; the latter are Linux's own.
_LEAST_BUFFER, _MOST_RECEIVE, _MOST_SEND = 256 * 1024, 6 << 20, 4 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of linux/fcntl.h
_PIPE_PAGES = 16  # of each pipe, unless it asks for another size (pipe(7))
_MAX_PIPE_BYTES = 1 << 20


def plan_dimensions(
    evidence: Evidence, machine: Machine, chosen: Mapping[str, tuple[Component, str]]
) -> tuple[Dimension, ...]:
    """Every dimension, in the order in which a reader asks for them."""
    profile = evidence.profile
    return (
        *_machine(evidence, machine),
        *_tasks(evidence, machine),
        *schedule_dimensions(profile, machine.processors),
        *_descriptors(evidence),
        *_queues(evidence),
        *_tcp_memory(evidence, machine),
        *_pipes(evidence),
        *_watches(evidence),
        *_built_in(chosen),
    )


def processors_option(machine: Machine) -> tuple[KernelOption, ...]:
    """The kernel has room for exactly the machine's processors; a single one needs no option."""
    if machine.processors < 2:
        return ()
    reason = f"the hardware {machine.hardware} has so many; each further one would cost memory"
    return (KernelOption(name="NR_CPUS", value=str(machine.processors), reason=reason),)


def interrupts_apart(evidence: Evidence, machine: Machine) -> tuple[KernelArgument, ...]:
    """Interrupts go to the processors that the service leaves free, where it leaves any."""
    free = interrupt_processors(evidence.profile, machine.processors)
    if not free:
        return ()
    reason = "the service keeps to the other processors, so interrupts need not disturb it"
    return (KernelArgument(value=f"irqaffinity={free}", reason=reason),)


def _machine(evidence: Evidence, machine: Machine) -> Iterator[Dimension]:
    resident = evidence.profile.resident_kib
    yield Dimension(
        name="processors", kind="machine", value=str(machine.least or machine.processors),
        source=f"hardware {machine.hardware}",
        reason="kernel and service are made for so many; with fewer, threads would wait"
        if machine.least is None
        else f"it is for several machines, with up to {machine.processors}",
    )  # fmt: skip
    yield Dimension(
        name="memory", kind="machine", value=str(machine.memory_kib), unit="KiB",
        source=f"hardware {machine.hardware}; {resident} KiB resident at once in the profile",
        head_room=f"+ {HEAD_ROOM_PERCENT} %",
        reason="what a guest is given, and what a container may use at most",
    )  # fmt: skip
    yield Dimension(
        name="least memory", kind="machine", value=str(max(resident, 1)), unit="KiB",
        source=f"{resident} KiB resident at once in the profile",
        reason="with less, the service could not hold what it held under its drills",
    )  # fmt: skip


def _tasks(evidence: Evidence, machine: Machine) -> Iterator[Dimension]:
    """`tasks` is the whole service's: of its container, or of the guest's kernel."""
    profile = evidence.profile
    threads = max(profile.number_of_threads, profile.number_of_processes, 1)
    tasks = min(_power_of_two(HEAD_ROOM * threads), _MAX_TASKS)
    source = f"{threads} tasks at once in the profile"
    yield Dimension(
        name="tasks", kind="cgroup", value=str(tasks), source=source, head_room=_TIMES,
        reason="processes and threads of the service; what forks without end is refused",
    )  # fmt: skip
    own = _KERNEL_THREADS + _THREADS_OF_PROCESSOR * machine.processors
    yield Dimension(
        name="kernel.threads-max", kind="sysctl", value=str(min(tasks + own, _MAX_TASKS)),
        source=source, head_room=f"{_TIMES}, + {own} for process 1 and the kernel's own",
        reason="the same in a machine of its own, where root is held back by nothing else",
    )  # fmt: skip
    if tasks + own >= 1 << 15:  # the kernel's own for few processors
        yield Dimension(
            name="kernel.pid_max", kind="sysctl", value=str(_MAX_TASKS), source=source,
            reason="each task needs a number",
        )  # fmt: skip


def _descriptors(evidence: Evidence) -> Iterator[Dimension]:
    profile = evidence.profile
    peak, processes = profile.number_of_descriptors, max(profile.number_of_processes, 1)
    nofile = min(max(_MIN_DESCRIPTORS, _power_of_two(HEAD_ROOM * peak)), _MAX_DESCRIPTORS)
    source = f"{peak} descriptors at once in the profile"
    yield Dimension(
        name="core", kind="limit", value="0", unit="bytes", source="no profile needs core files",
        reason="the kernel writes none: they hold secrets; process 1 does where --core-dumps asks",
    )  # fmt: skip
    yield Dimension(
        name="nofile", kind="limit", value=str(nofile), source=source, head_room=_TIMES,
        reason="descriptors of each process",
    )  # fmt: skip
    yield Dimension(
        name="fs.nr_open", kind="sysctl", value=str(nofile), source=source, head_room=_TIMES,
        reason="no process can raise its own limit above it",
    )  # fmt: skip
    yield Dimension(
        name="fs.file-max", kind="sysctl",
        value=str(min(_power_of_two(HEAD_ROOM * processes) * nofile, _MAX_OPEN_FILES)),
        source=f"{processes} processes at once in the profile", head_room=_TIMES,
        reason="open files of all processes together",
    )  # fmt: skip


def _queues(evidence: Evidence) -> Iterator[Dimension]:
    """What waits for accept(2), and for the third part of TCP's handshake."""
    # listen(2) with a number that is too large, such as -1, asks for no length in particular.
    backlogs = [value for value in evidence.values(("listen",), 0) if 0 < value < 2**31 - 1]
    if not backlogs:
        return
    source = f"listen was called with a backlog of {max(backlogs)}"
    yield Dimension(
        name="net.core.somaxconn", kind="sysctl", value=str(max(backlogs)), source=source,
        reason="the kernel cuts longer queues to it, without a word",
    )  # fmt: skip
    if _speaks_tcp(evidence):
        yield Dimension(
            name="net.ipv4.tcp_max_syn_backlog", kind="sysctl",
            value=str(max(_power_of_two(max(backlogs)), 128)), source=source,
            reason="half-open connections, as many as can wait for accept",
        )  # fmt: skip


def _speaks_tcp(evidence: Evidence) -> bool:
    return bool({"AF_INET", "AF_INET6"} & evidence.socket_families().keys())


def _tcp_memory(evidence: Evidence, machine: Machine) -> Iterator[Dimension]:
    if not _speaks_tcp(evidence):
        return
    kib = machine.memory_kib // _TCP_SHARE
    pages, sockets = kib // _PAGE_KIB, max(evidence.profile.number_of_sockets, 1)
    yield Dimension(
        name="net.ipv4.tcp_mem", kind="sysctl", unit="pages",
        value=f"{pages // 2} {pages * 3 // 4} {pages}",
        source=f"1/{_TCP_SHARE} of {machine.memory_kib} KiB of memory",
        reason="all connections together hold no more, and are pressed from half of it on",
    )  # fmt: skip
    source = f"{sockets} sockets at once in the profile share {kib} KiB"
    for name, usual, most in (("tcp_rmem", 131072, _MOST_RECEIVE), ("tcp_wmem", 16384, _MOST_SEND)):
        size = min(max(kib * 1024 // sockets, _LEAST_BUFFER), most) & ~4095
        yield Dimension(
            name=f"net.ipv4.{name}", kind="sysctl", unit="bytes", value=f"4096 {usual} {size}",
            source=source, reason="what a connection has at least, at first, and may grow to",
        )  # fmt: skip


def _pipes(evidence: Evidence) -> Iterator[Dimension]:
    pipes = evidence.profile.number_of_pipes
    if not pipes and not evidence.made("pipe", "pipe2"):
        return
    wants_larger = _SET_PIPE_SIZE in evidence.values(("fcntl",), 0)
    yield Dimension(
        name="fs.pipe-max-size", kind="sysctl", unit="bytes",
        value=str(_MAX_PIPE_BYTES if wants_larger else _PIPE_PAGES * _PAGE_KIB * 1024),
        source="F_SETPIPE_SZ was used" if wants_larger else "no pipe was made larger than others",
        reason="nobody can make a pipe hold more",
    )  # fmt: skip
    pages = _power_of_two(HEAD_ROOM * max(pipes, 16)) * _PIPE_PAGES
    yield Dimension(
        name="fs.pipe-user-pages-soft", kind="sysctl", unit="pages",
        value=str(min(pages, _MAX_WATCHES)), source=f"{pipes} pipes at once in the profile",
        head_room=_TIMES, reason="beyond that, a user's pipes are made small",
    )  # fmt: skip


def _watches(evidence: Evidence) -> Iterator[Dimension]:
    """What epoll and inotify watch, and message queues, where they are used."""
    profile = evidence.profile
    peak, processes = profile.number_of_descriptors, max(profile.number_of_processes, 1)
    rows = (
        ("fs.epoll.max_user_watches", ("epoll_ctl",), peak * processes, 1024,
         f"{peak} descriptors in each of {processes} processes"),
        ("fs.inotify.max_user_watches", ("inotify_add_watch",), 0, 64, ""),
        ("fs.inotify.max_user_instances", ("inotify_init", "inotify_init1"), 0, 16, ""),
        ("fs.mqueue.queues_max", ("mq_open",), 0, 16, ""),
    )  # fmt: skip
    for name, calls, known, least, source in rows:
        if not evidence.made(*calls):
            continue
        count = known or evidence.times(*calls)
        value = min(max(_power_of_two(HEAD_ROOM * count), least), _MAX_WATCHES)
        yield Dimension(
            name=name, kind="sysctl", value=str(value), head_room=_TIMES,
            source=source or f"{calls[-1]} was called {count} times",
            reason="the kernel's memory for it cannot be taken without end",
        )  # fmt: skip


def _built_in(chosen: Mapping[str, tuple[Component, str]]) -> Iterable[Dimension]:
    """What kernel options decide; one that is wanted wins over one that is left out."""
    found: dict[str, Dimension] = {}
    for component, asked in chosen.values():
        for option in component.option:
            size = option.dimension
            if size is None or (option.value == "n" and size.name in found):
                continue
            found[size.name] = Dimension(
                name=size.name, kind="kernel", value=size.value, unit=size.unit,
                source=f"component {component.name}: {asked}",
                reason=f"CONFIG_{option.name}={option.value}: {option.why}",
            )  # fmt: skip
    return [found[name] for name in sorted(found)]


def _power_of_two(number: int) -> int:
    """The least power of two that is not below `number`."""
    return 1 << max(number - 1, 0).bit_length()
