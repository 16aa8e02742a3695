"""What each drill of a recording brought that none before it had: when is it enough?

New is what a plan can depend on: a call of a program in a phase, a way of using a path, an argument
fact, a listener, a capability, an identity, a start, an interface of the kernel. Not new is how
often something happened, which errno a call failed with, or what only chance decides (BY_CHANCE).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from onejob.model.linux_names import capability_name, family_name
from onejob.model.profile import DrillRun, Phase
from onejob.model.syscalls import call_name
from onejob.profiler.names import Folding
from onejob.profiler.recording import (
    FactSeen,
    ListenerSeen,
    Recording,
    Seen,
    normal_path,
    ways_of,
)
from onejob.profiler.rounds import drill_of

Kind = Literal[
    "call", "file", "argument", "listener", "capability", "identity", "start", "interface"
]
# Made when two threads happen to meet, or a sleep to be interrupted: a round that lacks them says
# nothing, and one that has them at last says nothing new.
BY_CHANCE = frozenset({"futex", "sched_yield", "restart_syscall"})
_ORDER = get_args(Kind)
_MAKING = {"created", "renamed-to", "bound"}
_WITH_PORT = {"bind", "connect"}
_AF_UNIX = 1
_FIRST_EPHEMERAL = 32768  # net.ipv4.ip_local_port_range: the kernel's choice
_SHOWN = 2


class Fact(NamedTuple):
    """Something that can be new. `scope` and `key` tell it from others; `shown` is for people."""

    kind: Kind
    scope: str
    key: str
    shown: str

    def identity(self) -> tuple[str, str, str]:
        """What makes it the same as another one."""
        return self.kind, self.scope, self.key


News = tuple[Fact, ...]


def news_of(recording: Recording) -> tuple[News, ...]:
    """For each drill of `recording`, in order: what it brought that none before it had."""
    brought: list[dict[tuple[str, str, str], Fact]] = [{} for _ in recording.drills]
    for drill, fact in _facts(recording):
        brought[drill].setdefault(fact.identity(), fact)
    known: set[tuple[str, str, str]] = set()
    news = []
    for facts in brought:
        new = [facts[key] for key in facts.keys() - known]
        news.append(tuple(sorted(new, key=lambda fact: (_ORDER.index(fact.kind), fact))))
        known |= facts.keys()
    return tuple(news)


def drill_runs(recording: Recording) -> tuple[DrillRun, ...]:
    """The drills with what they brought, all rounds of each together."""
    rounds: dict[str, list[News]] = {}
    for name, news in zip(recording.drills, news_of(recording), strict=True):
        rounds.setdefault(drill_of(name), []).append(news)
    return tuple(_run_of(name, news) for name, news in rounds.items())


def _run_of(name: str, rounds: list[News]) -> DrillRun:
    kinds = Counter(fact.kind for news in rounds for fact in news)
    loud = [number for number, news in enumerate(rounds, 1) if news]
    return DrillRun(
        name=name,
        phase=phase_of(name),
        new_calls=kinds["call"],
        new_files=kinds["file"],
        rounds=len(rounds),
        quiet_rounds=len(rounds) - (loud[-1] if loud else 0),
    )


def phase_of(drill: str) -> Phase:
    """The service boots until it is ready, which is what the drill `start` covers."""
    return "boot" if drill == "start" else "serve"


def tell_news(drill: str, news: News) -> str:
    """One line for people: ``drill reload: 1 new call (nginx: chown), 2 new files (...)``."""
    if not news:
        return f"drill {drill}: nothing new"
    kinds = {fact.kind: [same for same in news if same.kind == fact.kind] for fact in news}
    return f"drill {drill}: " + ", ".join(map(_told, kinds.values()))


def _told(facts: Sequence[Fact]) -> str:
    """Facts of one kind: how many, and the first of them."""
    kind = facts[0].kind if len(facts) == 1 else _plural(facts[0].kind)
    shown = "; ".join(fact.shown for fact in facts[:_SHOWN])
    return f"{len(facts)} new {kind} ({shown}{'; ...' if len(facts) > _SHOWN else ''})"


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _facts(recording: Recording) -> Iterator[tuple[int, Fact]]:
    """All that can be new, with the drill that it belongs to."""
    programs = {program.id: program.path for program in recording.programs}
    names = {id: path.rpartition("/")[2] for id, path in programs.items()}
    for call in recording.calls:
        if (name := call_name(call.nr)) not in BY_CHANCE:
            phase = phase_of(drill_of(recording.drills[call.drill]))
            scope = f"{phase} {programs[call.program]}"
            yield call.drill, Fact("call", scope, name, f"{names[call.program]}: {name}")
    yield from _files(recording, names)
    for argument in recording.facts:
        if (name := call_name(argument.nr)) not in BY_CHANCE:
            key = f"{name} {_values(argument, name)}"
            shown = f"{names[argument.program]}: {key}"
            yield argument.drill, Fact("argument", programs[argument.program], key, shown)
    for seen, kind, key in _others(recording, programs):
        shown = f"{names[seen.program]}: {key}"
        yield seen.drill, Fact(kind, programs[seen.program], key, shown)


def _files(recording: Recording, names: dict[int, str]) -> Iterator[tuple[int, Fact]]:
    """Ways of using a path, whoever did; names that were made up are one."""
    ways = [
        (seen, normal_path(seen.path), how) for seen in recording.files for how in ways_of(seen)
    ]
    folding = Folding(path for _, path, how in ways if how in _MAKING)
    for seen, path, how in ways:
        shown = f"{names[seen.program]}: {how} {path}"
        yield seen.drill, Fact("file", how, folding.fold(path), shown)


def _values(seen: FactSeen, name: str) -> str:
    values = [str(value) for value in seen.args]
    if name in _WITH_PORT:
        values[1:] = [_port(port) for port in seen.args[1:]]
    return " ".join(values)


def _port(number: int) -> str:
    return "ephemeral" if number >= _FIRST_EPHEMERAL else str(number)


def _others(recording: Recording, programs: dict[int, str]) -> Iterator[tuple[Seen, Kind, str]]:
    for listener in recording.listeners:
        yield listener, "listener", _address(listener)
    for capability in recording.capabilities:
        yield capability, "capability", capability_name(capability.capability)
    for identity in recording.identities:
        privileges = ", no new privileges" if identity.no_new_privs else ""
        yield identity, "identity", f"uid {identity.uid}, gid {identity.gid}{privileges}"
    for start in recording.starts:
        yield start, "start", f"{start.how} {programs[start.child]}"
    for interface in recording.interfaces:
        yield interface, "interface", f"{interface.kind} {interface.name}"


def _address(seen: ListenerSeen) -> str:
    """A Unix socket's path is a file, too, and is made up or not as a file."""
    place = "" if seen.family == _AF_UNIX else f" {seen.address} {_port(seen.port)}"
    return f"{family_name(seen.family)}{place}"
