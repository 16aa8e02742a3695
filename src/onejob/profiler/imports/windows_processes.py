"""What Procmon says of processes and threads: who started whom, and the most at once."""

from collections import Counter
from collections.abc import Mapping

from onejob.model.profile import ProgramPeak, Start, StartHow
from onejob.profiler.imports.procmon import MAX_PATH, Event, Log, Service, number_in
from onejob.profiler.imports.tally import DRILL, Tally
from onejob.profiler.imports.windows_rows import Rows

_KIB = 1024
_OWN = {"Process Create", "Process Start", "Process Exit", "Thread Create", "Thread Exit"}


class WindowsProcesses:
    """Follows the processes of a service; those that were there before the log count from its
    beginning."""

    def __init__(
        self, tally: Tally, log: Log, service: Service, programs: Mapping[int, str]
    ) -> None:
        self._tally = tally
        self._processes = log.processes
        self._programs = programs
        self._threads: dict[int, int] = {}  # of each process that lives
        self._heard: set[int] = set()  # of those that were started in the log
        self._first: set[int] = set()  # those of them whose first thread is still to come
        self._starts = Rows[tuple[str, str, StartHow]](tally)
        self._live: Counter[str] = Counter()  # processes by program
        self._live_threads: Counter[str] = Counter()
        self._all_threads = 0
        self._most: Counter[str] = Counter()
        self._most_threads: Counter[str] = Counter()
        self._resident: Counter[str] = Counter()
        for number in sorted(service.members):
            if not self._processes[number].started:
                self._begin(number, service.threads_before.get(number, 0))

    def take(self, program: str, event: Event) -> bool:
        """Whether the operation is one of processes or threads."""
        number, name = event.process, event.operation
        if self._processes[number].started and number not in self._heard:
            self._heard.add(number)
            self._first.add(number)
            self._begin(number, 0)
        if name == "Process Create":
            if 0 < len(event.path) <= MAX_PATH:
                self._starts.add((program, event.path, "exec"), len(event.path))
        elif name == "Process Exit":
            self._end(number)
            kib = number_in(event.detail.get("Peak Working Set", "")) // _KIB
            self._resident[program] = max(self._resident[program], kib)
        elif name == "Thread Create":
            if number not in self._first:
                self._starts.add((program, program, "thread"), len(program))
            self._first.discard(number)
            self._set_threads(number, self._threads.get(number, 0) + 1)
        elif name == "Thread Exit":
            self._set_threads(number, self._threads.get(number, 0) - 1)
        return name in _OWN

    def _begin(self, number: int, threads: int) -> None:
        program = self._programs[number]
        self._live[program] += 1
        self._most[program] = max(self._most[program], self._live[program])
        self._threads[number] = 0
        self._count_threads(program, 1)
        self._set_threads(number, threads)
        self._tally.raise_peak("processes", len(self._threads))

    def _end(self, number: int) -> None:
        if number in self._threads:
            program = self._programs[number]
            self._live[program] -= 1
            self._count_threads(program, -max(1, self._threads.pop(number)))

    def _set_threads(self, number: int, threads: int) -> None:
        """A process has at least one thread, whether or not the log has it."""
        if number in self._threads:
            more = max(1, threads) - max(1, self._threads[number])
            self._threads[number] = max(0, threads)
            self._count_threads(self._programs[number], more)

    def _count_threads(self, program: str, more: int) -> None:
        self._live_threads[program] += more
        self._all_threads += more
        self._most_threads[program] = max(self._most_threads[program], self._live_threads[program])
        self._tally.raise_peak("threads", self._all_threads)

    def starts(self) -> tuple[Start, ...]:
        """Who started what: a process is started with its program, at once."""
        return tuple(
            Start(program=program, child=child, drill=DRILL, how=how, count=count)
            for (program, child, how), count in sorted(self._starts.items())
        )

    def peaks(self, most_open: Mapping[str, int]) -> tuple[ProgramPeak, ...]:
        """Most at once of each program; `most_open` files in one process of it."""
        return tuple(
            ProgramPeak(
                program=program, processes=count, threads=self._most_threads[program],
                descriptors=most_open.get(program, 0), resident_kib=self._resident[program],
            )
            for program, count in sorted(self._most.items())
        )  # fmt: skip
