"""A service on Windows, as a log of Process Monitor shows it -> Profile.

Nothing of it is on this machine, so nothing is looked up. Procmon names what drivers were asked for
(IRPs, registry callbacks, events of tcpip.sys), not the system calls that led there, and one may
stand for several of them; so its operations are never calls of the profile. They are the
`call_name` of traffic, which says what was done through which operation.
"""

from collections import Counter
from collections.abc import Callable

from onejob import __version__
from onejob.model.profile import (
    DrillRun,
    Profile,
    Provenance,
    UnrecordedMemory,
)
from onejob.profiler.imports.procmon import (
    OF_PROCMON,
    Census,
    Event,
    Log,
    Service,
    file_name,
    shown,
)
from onejob.profiler.imports.procmon_results import is_open, succeeded
from onejob.profiler.imports.tally import DRILL, Tally
from onejob.profiler.imports.windows_files import WindowsFiles
from onejob.profiler.imports.windows_processes import WindowsProcesses
from onejob.profiler.imports.windows_registry import WindowsRegistry
from onejob.profiler.imports.windows_sockets import WindowsSockets

LACKS = (
    "Process Monitor: it names operations, not system calls, so there are none here, and does not"
    " say what was allocated, what files hold, which ids and rights were used, or which backlog"
    " a listener has, nor what its filters left out"
)
_NO_MEMORY = "imported: its source does not say"
_SHOWN = 3


def windows_profile(
    log: Log, program: str, sources: tuple[str, ...], name_of: Callable[[str], str]
) -> Profile:
    """The profile of what `log` says of `program` (procmon.Census.service has its meaning), with
    the name that `name_of` gives to its path.

    `sources` are its files for the provenance; InputError where it has no such program.
    """
    service = Census(log).service(program)
    facts = _Facts(log, service)
    for event in log.events(facts.tally):
        facts.take(event)
    return facts.profile(name_of(service.program), sources)


class _Facts:
    """What the processes of a service did, event by event."""

    def __init__(self, log: Log, service: Service) -> None:
        self.tally = Tally()
        self._log = log
        self._service = service
        self._programs = _programs(log, service)
        self._files = WindowsFiles(self.tally)
        self._sockets = WindowsSockets(self.tally)
        self._processes = WindowsProcesses(self.tally, log, service, self._programs)
        self._registry = WindowsRegistry(self.tally)
        self._left: Counter[str] = Counter()
        for number in sorted(service.members):
            process = log.processes[number]
            if process.parent not in service.members and process.image:
                self._files.use(self._programs[number], process.image, "executed")

    def take(self, event: Event) -> None:
        """One event of the log, in its order."""
        program = self._programs.get(event.process)
        if program is None or event.operation in OF_PROCMON:
            return
        if self._processes.take(program, event):
            self._around_process(program, event)
        elif event.operation == "Load Image":
            own = self._log.processes[event.process].image.lower()
            if event.path.lower() != own:
                self._files.use(program, event.path, "mapped")
        elif is_open(event.result):
            pass
        elif not (
            self._registry.take(program, event)
            or self._sockets.take(program, event)
            or self._files.take(program, event)
        ):
            self._leave(event)

    def _around_process(self, program: str, event: Event) -> None:
        if event.operation == "Process Create":
            self._files.use(program, event.path, "executed")
        elif event.operation == "Process Exit":
            self._files.end(event.process)
            self._sockets.end(event.process)

    def _leave(self, event: Event) -> None:
        if succeeded(event.result):
            self._left[event.operation] += 1
        else:
            failure = f"{event.operation}: {event.result}"
            self.tally.miss("operations that failed, and are not kept", failure)

    def profile(self, name: str, sources: tuple[str, ...]) -> Profile:
        """All of it, when there are no more events."""
        for number in sorted(self._service.members):
            own = self._log.processes[number].image.lower()
            for module in self._log.processes[number].modules:
                if module.lower() != own:
                    self._files.held(self._programs[number], module, "mapped")
        files = self._files.files()
        peaks = self._processes.peaks(self._files.most_open)
        traffic = (*self._files.traffic(), *self._sockets.traffic())
        return Profile(
            number_of_processes=self.tally.peaks["processes"],
            number_of_threads=self.tally.peaks["threads"],
            number_of_sockets=self._sockets.peak,
            number_of_descriptors=max(self._files.most_open.values(), default=0),
            events_lost=sum(self.tally.lost.values()),
            name=name,
            program=self._service.program,
            provenance=self._provenance(sources),
            drills=(DrillRun(name=DRILL, phase="serve", new_files=len(files)),),
            files=files,
            traffic=tuple(sorted(traffic, key=lambda row: (row.object, row.program))),
            listeners=self._sockets.listeners(),
            starts=self._processes.starts(),
            program_peaks=peaks,
            kernel_interfaces=self._registry.interfaces(),
            unrecorded_memory=tuple(
                UnrecordedMemory(program=peak.program, reason=_NO_MEMORY) for peak in peaks
            ),
        )

    def _provenance(self, sources: tuple[str, ...]) -> Provenance:
        notes = [f"imported from {LACKS}", *self._registry.said(), *self._users()]
        if self._service.others:
            notes.append(f"{self._service.others} events of other programs are left out")
        if self._left:
            names = ", ".join(name for name, _ in self._left.most_common(_SHOWN))
            count = sum(self._left.values())
            notes.append(f"{count} operations that a profile has no place for ({shown(names)})")
        return Provenance(
            onejob=__version__,
            machine=self._log.machine,
            kernel=self._log.system,
            libc="",
            distribution="",
            backend="import",
            partial="; ".join([*notes, *self.tally.said()]),
            sources=sources,
        )

    def _users(self) -> list[str]:
        """As whom the service ran: Windows has no numbers for them that a profile could keep."""
        members = (self._log.processes[number] for number in self._service.members)
        users = sorted({shown(process.user) for process in members if process.user})
        more = f" and {len(users) - _SHOWN} more" if len(users) > _SHOWN else ""
        return [f"it ran as {', '.join(users[:_SHOWN])}{more}"] if users else []


def _programs(log: Log, service: Service) -> dict[int, str]:
    """What each process of the service ran; one spelling for each path, and the service's own
    path where its log has but names."""
    spelled = {service.program.lower(): service.program}
    own = file_name(service.program).lower()
    programs: dict[int, str] = {}
    for number in sorted(service.members):
        process = log.processes[number]
        unnamed = not process.image and process.name.lower() == own
        program = service.program if unnamed else process.program
        programs[number] = spelled.setdefault(program.lower(), program)
    return programs
