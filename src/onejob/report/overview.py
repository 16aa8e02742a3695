"""A profile at a glance: what the service calls the kernel for, where its data goes, its rights."""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from onejob.model.call_purposes import purpose_of, purposes
from onejob.model.profile import Listener, Profile, Traffic

MOST_ROWS = 12
_NUMBER_OF_CALLS = 8
_INTO = {"write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg"}
_DURABLE = {"fsync", "fdatasync", "sync_file_range", "msync"}


class Table(NamedTuple):
    """A title, the heads of its columns, and its rows; all text."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def overview(profile: Profile) -> tuple[Table, ...]:
    """The tables that have anything in them."""
    tables = (
        _purposes(profile), _traffic(profile), _listeners(profile), _programs(profile),
        _mapped(profile), _scheduling(profile), _rights(profile), _memory(profile),
    )  # fmt: skip
    return tuple(table for table in tables if table.rows)


def notes(profile: Profile) -> tuple[str, ...]:
    """What a reader of the tables must know: what is missing, and why."""
    found = []
    if profile.provenance and profile.provenance.partial:
        found.append(f"partial: {profile.provenance.partial}")
    if profile.events_lost:
        found.append(f"{profile.events_lost} events were lost: a plan needs --accept-lost-events")
    rows = profile.unrecorded_memory
    found += [f"the memory of {row.program} was not recorded: {row.reason}" for row in rows]
    return tuple(found)


def _purposes(profile: Profile) -> Table:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    programs: defaultdict[str, set[str]] = defaultdict(set)
    components: defaultdict[str, set[str]] = defaultdict(set)
    for use in profile.calls:
        counts[purpose_of(use.call_name)][use.call_name] += use.count
        programs[purpose_of(use.call_name)].add(posixpath.basename(use.program))
    for row in profile.relationships:
        components[purpose_of(row.call_name)].update(row.components)
    order = [*purposes(), *(counts.keys() - set(purposes()))]
    rows = tuple(
        (
            purpose,
            str(counts[purpose].total()),
            _listed((name for name, _ in counts[purpose].most_common()), _NUMBER_OF_CALLS),
            ", ".join(sorted(components[purpose])),
            ", ".join(sorted(programs[purpose])),
        )
        for purpose in order
        if purpose in counts
    )
    title = f"{profile.name}: what it calls the kernel for"
    return Table(title, ("purpose", "times", "calls", "concerns", "programs"), rows)


def _listed(names: Iterable[str], most: int) -> str:
    found = list(names)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def _traffic(profile: Profile) -> Table:
    groups: defaultdict[tuple[str, str], list[Traffic]] = defaultdict(list)
    for row in profile.traffic:
        groups[row.object, row.component].append(row)
    ordered = sorted(groups.items(), key=lambda item: (-_bytes(item[1]), item[0]))
    rows = tuple(
        (
            name,
            component,
            _bytes_text(row for row in found if row.call_name not in _INTO),
            _bytes_text(row for row in found if row.call_name in _INTO),
            str(sum(row.count for row in found if row.call_name in _DURABLE) or ""),
            str(sum(row.jumps for row in found) or ""),
        )
        for (name, component), found in ordered[:MOST_ROWS]
    )
    heads = ("object", "kind", "read", "written", "syncs", "jumps")
    return Table(f"where its data goes: {len(rows)} of {len(groups)} objects", heads, rows)


def _bytes(rows: Iterable[Traffic]) -> int:
    return sum(row.bytes for row in rows)


def _bytes_text(rows: Iterable[Traffic]) -> str:
    found = [row for row in rows if row.bytes]
    return f"{_bytes(found)} bytes in {sum(row.count for row in found)}" if found else ""


def _listeners(profile: Profile) -> Table:
    groups: defaultdict[tuple[str, str], list[Listener]] = defaultdict(list)
    for row in profile.listeners:
        address = f"{row.address} {row.port or ''}".strip()
        groups[f"{row.family}/{row.kind}", address].append(row)
    rows = tuple(
        (
            *socket,
            str(max(row.backlog for row in found)),
            str(max(row.queue_peak for row in found)),
            str(sum(row.accepted for row in found)),
        )
        for socket, found in sorted(groups.items())
    )
    heads = ("socket", "address", "backlog", "most waiting", "accepted")
    return Table("where it listens", heads, rows)


def _programs(profile: Profile) -> Table:
    started: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for start in profile.starts:
        started[start.child][start.how] += start.count
    rows = tuple(
        (
            peak.program,
            str(peak.processes or ""),
            str(peak.threads or ""),
            str(peak.descriptors or ""),
            str(peak.resident_kib or ""),
            ", ".join(f"{n} by {how}" for how, n in sorted(started[peak.program].items())),
        )
        for peak in profile.program_peaks
    )
    heads = ("program", "processes", "threads", "descriptors", "KiB resident", "started")
    return Table("its programs at their peak", heads, rows)


def _mapped(profile: Profile) -> Table:
    rows = tuple(
        (
            peak.program,
            *map(str, (peak.heap_kib, peak.anonymous_kib, peak.mapped_file_kib)),
            str(peak.huge_page_kib),
        )
        for peak in profile.program_peaks
        if peak.resident_kib
    )
    heads = ("program", "heap", "anonymous", "files", "huge pages")
    return Table("its mapped memory in KiB", heads, rows)


def _scheduling(profile: Profile) -> Table:
    rows = tuple(
        (row.program, row.policy, str(row.priority), str(row.nice), row.processors or "all")
        for row in profile.scheduling
    )
    heads = ("program", "policy", "priority", "nice", "processors")
    return Table("how its threads are scheduled", heads, rows)


def _rights(profile: Profile) -> Table:
    counts: Counter[tuple[str, str]] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for use in profile.capabilities:
        counts[use.name, use.program] += use.count
        refused[use.name, use.program] += use.refused
    rows = [
        (name, program, str(counts[name, program]), str(refused[name, program]))
        for name, program in sorted(counts)
    ]
    ids = sorted({(row.program, row.uid, row.gid) for row in profile.identities})
    rows += [(f"user {uid}, group {gid}", program, "", "") for program, uid, gid in ids]
    return Table("its rights", ("right", "program", "asked for", "refused"), tuple(rows))


def _memory(profile: Profile) -> Table:
    largest = sorted(profile.allocations, key=lambda row: -row.peak * row.block_size)
    rows = tuple(
        (
            posixpath.basename(row.program),
            str(row.block_size),
            str(row.peak),
            str(row.allocated),
        )
        for row in largest[:MOST_ROWS]
    )
    title = f"its memory blocks: {len(rows)} of {len(profile.allocations)} sizes"
    return Table(title, ("program", "bytes", "most at once", "in all"), rows)
