"""The further facts of a recording in the profile's words: relationships, traffic, privileges."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from onejob.model.linux_names import capability_name, family_name, netlink_name, type_name
from onejob.model.profile import (
    CapabilityUse,
    FileUse,
    Identity,
    KernelInterface,
    Listener,
    ProgramPeak,
    Relationship,
    RoleCall,
    Start,
    Traffic,
)
from onejob.model.syscalls import call_name
from onejob.profiler.recording import Recording, Seen

_AF_NETLINK = 16
_SOCKET = re.compile(r"socket:(\d{1,3})(?:/(\d{1,5}))?")
# Where a path is the kernel's own, and what the profile calls it; the first that fits.
_INTERFACES = (("/proc/sys/", "sysctl"), ("/proc", "proc"), ("/sys", "sys"), ("/dev", "device"))


class Facts:
    """A recording with the numbers of programs and drills turned into names."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._programs = {program.id: program.path for program in recording.programs}

    def program(self, seen: Seen) -> str:
        """The program that a row belongs to."""
        return self._programs[seen.program]

    def drill(self, seen: Seen) -> str:
        """The drill that a row belongs to."""
        return self._recording.drills[seen.drill]

    def relationships(self) -> tuple[Relationship, ...]:
        """Through which object each call was made, and which parts of the kernel it concerned."""
        components: defaultdict[tuple[int, int, int], set[str]] = defaultdict(set)
        for traffic in self._recording.traffic:
            key = traffic.program, traffic.drill, traffic.nr
            components[key].add(_named(traffic.component))
        for fact in self._recording.facts:
            if call_name(fact.nr) in ("socket", "socketpair"):
                family = f"socket:{family_name(fact.args[0])}"
                components[fact.program, fact.drill, fact.nr].add(family)
        rows = (
            Relationship(
                program=self.program(seen),
                drill=self.drill(seen),
                library=self._programs[seen.object],
                call_name=call_name(seen.nr),
                count=seen.count,
                components=tuple(sorted(components[seen.program, seen.drill, seen.nr])),
            )
            for seen in self._recording.through
        )
        return tuple(sorted(rows, key=lambda r: (r.program, r.call_name, r.library, r.drill)))

    def role_calls(self) -> tuple[RoleCall, ...]:
        """The calls by what the process was that made them."""
        rows = (
            RoleCall(
                program=self.program(seen),
                drill=self.drill(seen),
                role="worker" if seen.worker else "main",
                settled=seen.settled,
                call_name=call_name(seen.nr),
                count=seen.count,
            )
            for seen in self._recording.stages
        )
        return tuple(
            sorted(rows, key=lambda r: (r.program, r.role, r.settled, r.call_name, r.drill))
        )

    def traffic(self) -> tuple[Traffic, ...]:
        """Operations and bytes by object."""
        rows = (
            Traffic(
                program=self.program(seen),
                drill=self.drill(seen),
                call_name=call_name(seen.nr),
                object=_named(seen.object),
                component=_named(seen.component),
                count=seen.count,
                bytes=seen.bytes,
                jumps=seen.jumps,
            )
            for seen in self._recording.traffic
        )
        return tuple(sorted(rows, key=lambda r: (r.object, r.program, r.call_name, r.drill)))

    def listeners(self) -> tuple[Listener, ...]:
        """Sockets that were listened on."""
        rows = (
            Listener(
                program=self.program(seen),
                drill=self.drill(seen),
                family=family_name(seen.family),
                kind=type_name(seen.type),
                address=seen.address,
                port=seen.port,
                backlog=seen.backlog,
                queue_peak=seen.queue_peak,
                accepted=seen.accepted,
            )
            for seen in self._recording.listeners
        )
        return tuple(sorted(rows, key=lambda r: (r.family, r.address, r.port, r.program, r.drill)))

    def capabilities(self) -> tuple[CapabilityUse, ...]:
        """Capabilities that the kernel asked for."""
        rows = (
            CapabilityUse(
                program=self.program(seen),
                drill=self.drill(seen),
                name=capability_name(seen.capability),
                count=seen.count,
                refused=seen.refused,
            )
            for seen in self._recording.capabilities
        )
        return tuple(sorted(rows, key=lambda row: (row.name, row.program, row.drill)))

    def identities(self) -> tuple[Identity, ...]:
        """Effective ids."""
        rows = (
            Identity(
                program=self.program(seen),
                drill=self.drill(seen),
                uid=seen.uid,
                gid=seen.gid,
                no_new_privs=seen.no_new_privs,
            )
            for seen in self._recording.identities
        )
        return tuple(sorted(rows, key=lambda r: (r.program, r.uid, r.gid, r.drill, r.no_new_privs)))

    def starts(self) -> tuple[Start, ...]:
        """Who started what."""
        rows = (
            Start(
                program=self.program(seen),
                drill=self.drill(seen),
                child=self._programs[seen.child],
                how=seen.how,
                count=seen.count,
            )
            for seen in self._recording.starts
        )
        return tuple(sorted(rows, key=lambda row: (row.program, row.child, row.how, row.drill)))

    def program_peaks(self) -> tuple[ProgramPeak, ...]:
        """Peaks of each program."""
        rows = (
            ProgramPeak(
                program=self._programs[seen.program],
                processes=seen.processes,
                threads=seen.threads,
                descriptors=seen.descriptors,
            )
            for seen in self._recording.program_peaks
        )
        return tuple(sorted(rows, key=lambda row: row.program))

    def kernel_interfaces(self, files: Iterable[FileUse]) -> tuple[KernelInterface, ...]:
        """The kernel's own files, netlink protocols, mounted file systems and wanted modules."""
        counts: Counter[tuple[str, str, str, str]] = Counter()
        for file in files:
            if kind := _interface_of(file.path):
                for use in file.uses:
                    counts[use.program, use.drill, kind, file.path] += use.count
        for fact in self._recording.facts:
            if call_name(fact.nr) == "socket" and fact.args[0] == _AF_NETLINK:
                protocol = netlink_name(fact.args[2])
                counts[self.program(fact), self.drill(fact), "netlink", protocol] += fact.count
        for seen in self._recording.interfaces:
            counts[self.program(seen), self.drill(seen), seen.kind, seen.name] += seen.count
        return tuple(
            KernelInterface.model_validate(
                {"program": program, "drill": drill, "kind": kind, "name": name, "count": count}
            )
            for (program, drill, kind, name), count in sorted(counts.items())
        )


def _named(thing: str) -> str:
    """``socket:2/1`` as ``socket:inet/stream``; anything else as it is."""
    if found := _SOCKET.fullmatch(thing):
        kind = f"/{type_name(int(found[2]))}" if found[2] else ""
        return f"socket:{family_name(int(found[1]))}{kind}"
    return thing


def _interface_of(path: str) -> str:
    """The kind of kernel interface that `path` is; empty where it is an ordinary file."""
    for folder, kind in _INTERFACES:
        if path.startswith(folder) and path[len(folder.rstrip("/")) :][:1] in ("", "/"):
            return kind
    return ""
