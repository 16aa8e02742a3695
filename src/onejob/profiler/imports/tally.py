"""Facts of another tool's log, counted as they come; memory grows with distinct facts only."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from onejob.model.syscalls import call_number
from onejob.profiler.recording import (
    CallsSeen,
    FactSeen,
    FileSeen,
    IdentitySeen,
    ListenerSeen,
    Peaks,
    ProgramSeen,
    Recording,
    Role,
    StartSeen,
)

DRILL = "imported"
MAX_DISTINCT = 500_000  # of each kind of fact; a profile may hold twice as many
MAX_SHOWN = 3
_MAX_COUNT = 2**48 - 1  # as onejob.profiler.recording.Number has it
_MAX_PATH = 4096  # PATH_MAX of linux/limits.h
_SHOWN_CHARACTERS = 80
UNKNOWN_PROGRAM = ""  # of a process whose start was not seen


class ListenerKey(NamedTuple):
    """A socket that is listened on."""

    program: str
    family: int
    type: int
    address: str
    port: int


class Tally:
    """Facts by program, ready to become a Recording.

    `lost` counts what may hide a system call; `gaps` what is known less exactly than it could be,
    by what it is, with the first examples.
    """

    def __init__(self) -> None:
        self.lost: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)
        self.notes: list[str] = []
        self.peaks: Counter[str] = Counter()
        self.main = ""
        self._calls: Counter[tuple[str, int]] = Counter()
        self._errors: Counter[tuple[str, int, int]] = Counter()
        self._facts: Counter[tuple[str, int, tuple[int, ...]]] = Counter()
        self._failed_facts: Counter[tuple[str, int, tuple[int, ...]]] = Counter()
        self._files: Counter[tuple[str, int, Role, str, int, int, bool]] = Counter()
        self._listeners: dict[ListenerKey, Counter[str]] = {}
        self._identities: set[tuple[str, int, int]] = set()
        self._starts: Counter[tuple[str, str, Literal["thread", "fork", "exec"]]] = Counter()

    def lose(self, what: str, example: str = "", times: int = 1) -> None:
        """Something that may hide a call."""
        self.lost[what] += times
        self._show(what, example)

    def miss(self, what: str, example: str = "") -> None:
        """A fact that is not known though its call is."""
        self.gaps[what] += 1
        self._show(what, example)

    def _show(self, what: str, example: str) -> None:
        shown = self.examples[what]
        if example and len(shown) < MAX_SHOWN:
            text = printable(example)
            if text not in shown:
                shown.append(text)

    def call(self, program: str, name: str, error: int = 0, count: int = 1, failed: int = 0) -> int:
        """`count` calls, all with `error`, or `failed` of them with one that nobody knows.

        The number of the call; -1 where x86_64 has none of that name.
        """
        number = call_number(name)
        if number is None:
            self.lose("calls that x86_64 does not have", name, count)
            return -1
        key = program, number
        if self._room(self._calls, key):
            self._calls[key] += count
            if error or failed:
                self._errors[(*key, error)] += failed or count
        return number

    def fact(self, program: str, number: int, values: tuple[int, ...], failed: bool) -> None:
        """Arguments of one call."""
        key = program, number, values
        if self._room(self._facts, key):
            self._facts[key] += 1
            self._failed_facts[key] += failed

    def file(
        self, program: str, number: int, role: Role, path: str, error: int = 0, flags: int = 0,
        created: bool = False,
    ) -> None:  # fmt: skip
        """One use of a path."""
        if not path or "\0" in path or len(path) > _MAX_PATH:
            self.miss("paths that no file can have", path)
            return
        key = program, number, role, path, error, flags & 0xFFFF_FFFF, created
        if self._room(self._files, key):
            self._files[key] += 1

    def listener(self, key: ListenerKey, backlog: int = 0, accepted: int = 0) -> None:
        """A call of listen, or accepted connections."""
        if self._room(self._listeners, key):
            row = self._listeners.setdefault(key, Counter())
            row["backlog"] = max(row["backlog"], backlog)
            row["accepted"] += accepted

    def identity(self, program: str, uid: int, gid: int) -> None:
        """Effective ids that a program was seen with."""
        if self._room(self._identities, (program, uid, gid)):
            self._identities.add((program, uid, gid))

    def start(self, program: str, child: str, how: Literal["thread", "fork", "exec"]) -> None:
        """A thread, process or program that was started."""
        key = program, child, how
        if self._room(self._starts, key):
            self._starts[key] += 1

    def _room(self, rows: Any, key: object) -> bool:
        if len(rows) < MAX_DISTINCT or key in rows:
            return True
        self.lose(f"facts beyond {MAX_DISTINCT} of a kind")
        return False

    def raise_peak(self, what: str, number: int) -> None:
        """The most at once of processes, threads, sockets, pipes or descriptors."""
        if number > self.peaks[what]:
            self.peaks[what] = min(number, _MAX_COUNT)

    def said(self) -> list[str]:
        """What a reader of the profile must know of how it came about."""
        return [
            *self.notes,
            *(self._said(what, count, "lost: ") for what, count in self.lost.items()),
            *(self._said(what, count) for what, count in self.gaps.items()),
        ]

    def _said(self, what: str, count: int, mark: str = "") -> str:
        examples = ", ".join(self.examples[what])
        return f"{mark}{count} {what}" + (f" ({examples})" if examples else "")

    def recording(self) -> Recording:
        """All of it; what an unknown program did is the main program's."""
        ids: dict[str, int] = {}

        def of(program: str) -> dict[str, int]:
            return {"program": ids.setdefault(program, len(ids)), "drill": 0}

        failed = self._of_main(self._failed_facts)
        return Recording(
            format=2,
            backend="import",
            drills=(DRILL,),
            lost={what: min(count, _MAX_COUNT) for what, count in self.lost.items()},
            calls=tuple(
                CallsSeen(nr=nr, count=min(n, _MAX_COUNT), errors=errors, **of(program))
                for program, nr, n, errors in self._calls_with_errors()
            ),
            facts=tuple(
                FactSeen(nr=nr, args=args, count=n, failed=failed[p, nr, args], **of(p))
                for (p, nr, args), n in self._of_main(self._facts).items()
            ),
            files=tuple(
                FileSeen(
                    nr=nr, role=role, path=path, error=error, flags=flags, created=created,
                    count=n, **of(p),
                )
                for (p, nr, role, path, error, flags, created), n in self._of_main(
                    self._files
                ).items()
            ),
            listeners=tuple(
                ListenerSeen(
                    family=key.family, type=key.type, address=key.address, port=key.port,
                    **row, **of(key.program or self.main),
                )
                for key, row in self._listeners.items()
            ),
            identities=tuple(
                IdentitySeen(uid=uid, gid=gid, no_new_privs=False, **of(p))
                for p, uid, gid in self._of_main(self._identities)
            ),
            starts=tuple(
                StartSeen(child=of(child or self.main)["program"], how=how, count=n, **of(p))
                for (p, child, how), n in self._of_main(self._starts).items()
            ),
            peaks=Peaks(**self.peaks),
            programs=tuple(ProgramSeen(id=id_, path=path) for path, id_ in ids.items()),
        )  # fmt: skip

    def _calls_with_errors(self) -> Iterator[tuple[str, int, int, dict[str, int]]]:
        errors: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        for (program, nr, error), count in self._of_main(self._errors).items():
            errors[program, nr][str(error)] = min(count, _MAX_COUNT)
        for (program, nr), count in self._of_main(self._calls).items():
            yield program, nr, count, errors[program, nr]

    def _of_main(self, rows: Iterable[Any]) -> Counter[Any]:
        """Rows that begin with a program, what an unknown one did as the main program's."""
        named: Counter[Any] = Counter()
        for row in rows:
            count = rows[row] if isinstance(rows, Counter) else 1
            named[(row[0] or self.main, *row[1:])] += count
        return named


def printable(text: str) -> str:
    """The beginning of foreign text as one line that no terminal takes for a command, and that
    does not hold the separator of a provenance's texts."""
    shown = text[:_SHOWN_CHARACTERS] + ("..." if len(text) > _SHOWN_CHARACTERS else "")
    return ascii(shown)[1:-1].replace(";", ",")
