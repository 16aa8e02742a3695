"""What identifies each fact of a profile, and how what was measured of it combines.

Said once, for each noun and each of its fields; `profile_merge` and `profile_diff` follow it. The
fields of the key stand in the order by which the profiler sorts the facts.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Any

from onejob.model import profile as nouns
from onejob.model.noun import Noun

MAX_COUNT = 2**63 - 1
# What was seen outweighs what the user said, and that what was only found in a file.
_ORIGINS = ("static", "user", "observed")
_BACKENDS = ("import", "ptrace", "ebpf")


class Rule(Enum):
    """What a field is to its fact."""

    KEY = "identifies the fact"
    COUNT = "adds up"
    PEAK = "the largest counts"
    MOST = "the largest counts, and differs from run to run"
    LEAST = "the smallest counts, and differs from run to run"
    UNION = "the members of all, sorted"
    LISTED = "the members of all, in order"
    TEXTS = "the different texts, one after the other"
    ORIGIN = "the weightiest origin"
    BACKEND = "the best observer"
    STATE = "what lies there: all such fields from one and the same row"
    FIRST = "the first that is not empty"
    ROWS = "facts of their own, each by its noun's rules"
    SEQUENCE = "the same, in the order of time"
    PART = "one noun, by its rules"


K, C, P, S = Rule.KEY, Rule.COUNT, Rule.PEAK, Rule.STATE

RULES: dict[type[Noun], dict[str, Rule]] = {
    nouns.MemoryAllocation: {"block_size": K, "number_of_blocks": P},
    nouns.SystemCall: {"call_name": K},
    nouns.CallUse: {
        "program": K, "call_name": K, "phase": K, "drill": K,
        "count": C, "failed": C, "errors": Rule.UNION, "origin": Rule.ORIGIN,
    },
    nouns.Argument: {
        "program": K, "call_name": K, "drill": K, "values": K,
        "count": C, "failed": C, "origin": Rule.ORIGIN,
    },
    nouns.Use: {"program": K, "drill": K, "how": K, "count": C},
    nouns.FileUse: {
        "path": K,
        # `existed` first: of two hosts, the one that has the file describes it.
        "existed": S, "kind": S, "size": S, "mode": S, "uid": S, "gid": S, "modified": S,
        "sha256": S, "target": S, "needed": S, "interpreter": S, "package": S,
        "uses": Rule.ROWS, "named_by": Rule.UNION, "origin": Rule.ORIGIN,
    },
    nouns.Relationship: {
        "program": K, "call_name": K, "library": K, "drill": K,
        "count": C, "components": Rule.UNION,
    },
    nouns.RoleCall: {
        "program": K, "role": K, "settled": K, "call_name": K, "drill": K, "count": C,
    },
    nouns.Traffic: {
        "object": K, "program": K, "call_name": K, "drill": K, "component": K,
        "count": C, "bytes": C, "jumps": C,
    },
    nouns.Listener: {
        "family": K, "address": K, "port": K, "program": K, "drill": K, "kind": K,
        "backlog": P, "queue_peak": P, "accepted": C,
    },
    nouns.CapabilityUse: {"name": K, "program": K, "drill": K, "count": C, "refused": C},
    # A program that sets no_new_privs on its way has a row before and one after.
    nouns.Identity: {"program": K, "uid": K, "gid": K, "drill": K, "no_new_privs": K},
    nouns.Start: {"program": K, "child": K, "how": K, "drill": K, "count": C},
    nouns.ProgramPeak: {
        "program": K, "processes": P, "threads": P, "descriptors": P, "resident_kib": P,
        "heap_kib": P, "anonymous_kib": P, "mapped_file_kib": P, "huge_page_kib": P,
    },
    nouns.Scheduling: {"program": K, "policy": K, "priority": K, "nice": K, "processors": K},
    nouns.KernelInterface: {"program": K, "drill": K, "kind": K, "name": K, "count": C},
    nouns.ReachableCall: {"object": K, "call_name": K, "reason": S},
    nouns.Unfollowed: {"object": K, "reason": K},
    nouns.ProgramAllocation: {
        "program": K, "block_size": K, "peak": P, "allocated": C, "freed": C, "short_lived": C,
        "process_long": C, "freed_elsewhere": C, "resized": C, "aligned": C,
    },
    nouns.UnrecordedMemory: {"program": K, "reason": K},
    nouns.Account: {"uid": K, "name": K, "gid": S, "home": S, "origin": Rule.ORIGIN},
    nouns.Group: {"gid": K, "name": K, "members": Rule.UNION, "origin": Rule.ORIGIN},
    nouns.DrillRun: {
        "name": K, "phase": K, "new_calls": Rule.MOST, "new_files": Rule.MOST,
        # Together they were quiet for no longer than the one that was so for the shortest time.
        "rounds": C, "quiet_rounds": Rule.LEAST,
    },
    nouns.Package: {"name": K, "version": K, "paths": P},
    nouns.Provenance: {
        "onejob": Rule.TEXTS, "machine": Rule.TEXTS, "kernel": Rule.TEXTS, "libc": Rule.TEXTS,
        "distribution": Rule.TEXTS, "backend": Rule.BACKEND, "partial": Rule.TEXTS,
        "sources": Rule.LISTED,
    },
    nouns.Profile: {
        "memory_allocations": Rule.ROWS, "number_of_processes": P, "number_of_sockets": P,
        "system_calls": Rule.ROWS, "number_of_threads": P, "number_of_descriptors": P,
        "number_of_pipes": P, "resident_kib": P, "events_lost": C,
        "name": Rule.FIRST, "program": Rule.FIRST, "workload": Rule.FIRST,
        "provenance": Rule.PART, "drills": Rule.SEQUENCE, "calls": Rule.ROWS,
        "arguments": Rule.ROWS, "files": Rule.ROWS, "allocations": Rule.ROWS,
        "accounts": Rule.ROWS, "groups": Rule.ROWS, "packages": Rule.ROWS,
        "relationships": Rule.ROWS, "role_calls": Rule.ROWS,
        "traffic": Rule.ROWS, "listeners": Rule.ROWS,
        "capabilities": Rule.ROWS, "identities": Rule.ROWS, "starts": Rule.ROWS,
        "program_peaks": Rule.ROWS, "scheduling": Rule.ROWS, "kernel_interfaces": Rule.ROWS,
        "reachable_calls": Rule.ROWS, "unfollowed": Rule.ROWS, "unrecorded_memory": Rule.ROWS,
    },
}  # fmt: skip


@cache
def fields_of(noun: type[Noun], *rules: Rule) -> tuple[str, ...]:
    """The fields of `noun` that have one of these rules, in order."""
    return tuple(name for name, rule in RULES[noun].items() if rule in rules)


@cache
def key_getter(noun: type[Noun]) -> Callable[[Noun], tuple[Any, ...]]:
    """A function that says what identifies a row of `noun` among the facts of its kind."""
    names = fields_of(noun, Rule.KEY)
    if len(names) > 1:
        return attrgetter(*names)
    return lambda row: tuple(getattr(row, name) for name in names)


def combiner(rule: Rule) -> Callable[[Sequence[Any]], Any]:
    """What makes of a field's values in several rows that in the one that stands for them."""
    return _COMBINE[rule]


def _weightiest(order: Sequence[str]) -> Callable[[Sequence[str]], str]:
    weights = {word: weight for weight, word in enumerate(order)}
    return lambda values: max(values, key=weights.__getitem__)


def _union(values: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    return tuple(sorted({member for value in values for member in value}))


def _listed(values: Iterable[Iterable[Any]]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(member for value in values for member in value))


def _texts(values: Iterable[str]) -> str:
    """Texts that were put together before are taken apart first, so that none stands twice."""
    return "; ".join(_union(filter(None, value.split("; ")) for value in values))


def _first(values: Sequence[Any]) -> Any:
    return next(filter(None, values), values[0])


_COMBINE: dict[Rule, Callable[[Sequence[Any]], Any]] = {
    Rule.COUNT: lambda values: min(sum(values), MAX_COUNT),
    Rule.PEAK: max,
    Rule.MOST: max,
    Rule.LEAST: min,
    Rule.UNION: _union,
    Rule.LISTED: _listed,
    Rule.TEXTS: _texts,
    Rule.ORIGIN: _weightiest(_ORIGINS),
    Rule.BACKEND: _weightiest(_BACKENDS),
    Rule.FIRST: _first,
}
