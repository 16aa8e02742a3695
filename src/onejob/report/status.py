"""A running instance as tables: its processes, its peaks beside their limits, what was denied."""

from collections.abc import Iterable

from onejob.model.observations import Denied, Observations
from onejob.model.plan import Plan
from onejob.report.overview import Table

INSTANCES = ("instance", "on", "for", "phase", "processes", "denials", "reached at")


def instance_row(
    name: str, where: str, ports: Iterable[str], found: Observations
) -> tuple[str, ...]:
    """One line for one instance, under the heads INSTANCES."""
    processes = len(found.processes) + found.processes_unlisted
    return (
        shown(name), where, duration(found.running_ms // 1000), found.phase, str(processes),
        str(found.denied), ", ".join(ports),
    )  # fmt: skip


def status_tables(found: Observations, plan: Plan) -> tuple[Table, ...]:
    """All that is known of one instance; tables without rows are left out."""
    tables = (
        _processes(found),
        _restarts(found, plan),
        _cores(found),
        _peaks(found, plan),
        _programs(found),
        _memory(found),
        _denials(found.denials),
        _unexpected_files(found),
    )
    return tuple(table for table in tables if table.rows)


def _processes(found: Observations) -> Table:
    rows = tuple(
        (
            str(each.pid), shown(each.program), each.role, each.phase, str(each.threads),
            str(each.descriptors), mebibytes(each.resident_kib),
        )
        for each in found.processes
    )  # fmt: skip
    heads = ("process", "program", "role", "phase", "threads", "descriptors", "most memory")
    more = f" ({found.processes_unlisted} more are not listed)" if found.processes_unlisted else ""
    return Table(f"processes{more}", heads, rows)


def _peaks(found: Observations, plan: Plan) -> Table:
    limits = {**plan.sizes("limit"), **plan.sizes("cgroup")}
    tasks, descriptors = (int(limits.get(name, 0)) for name in ("tasks", "nofile"))
    peaks = found.peaks
    measured = (
        ("processes", peaks.processes, 0),
        ("threads", peaks.threads, tasks),
        ("descriptors of a process", peaks.descriptors, descriptors),
        ("sockets", peaks.sockets, 0),
        ("KiB of a process", peaks.resident_kib, plan.machine.memory_kib),
    )
    rows = tuple(
        (what, str(peak), str(limit or ""), f"{peak / limit:.0%}" if limit else "")
        for what, peak, limit in measured
    )
    return Table("most at once", ("of", "seen", "limit", "used"), rows)


def _restarts(found: Observations, plan: Plan) -> Table:
    most = str(plan.restart.attempts) if plan.restart else ""
    row = (str(found.restarts), most, shown(found.last_end))
    heads = ("times", "most in a row", "the last time, it")
    return Table("failed and started again", heads, (row,) if found.restarts else ())


def _cores(found: Observations) -> Table:
    rows = tuple(
        (
            each.file, shown(each.program), str(each.pid), str(each.signal), str(each.threads),
            mebibytes(each.kib) + ("" if each.whole else ", cut"),
        )
        for each in found.cores
    )  # fmt: skip
    heads = ("core file", "program", "process", "signal", "threads", "memory")
    return Table("failed, memory kept", heads, rows)


def _programs(found: Observations) -> Table:
    rows = tuple(
        (
            shown(each.program), str(each.processes), str(each.threads), str(each.descriptors),
            mebibytes(each.resident_kib),
        )
        for each in found.programs
    )  # fmt: skip
    heads = ("program", "processes", "threads", "descriptors", "memory of one")
    return Table("most at once, by program", heads, rows if len(rows) > 1 else ())


def _memory(found: Observations) -> Table:
    rows = []
    for use in found.memory:
        by_size = [(str(each.block_size), each.given, each.relayed) for each in use.arrays]
        by_size += [(f"{each.size} (unexpected)", 0, each.count) for each in use.unexpected]
        by_size += [("other unexpected", 0, use.other_sizes), ("from the kernel", 0, use.large)]
        rows.append(_blocks(shown(use.program), "all", use.static, use.dynamic))
        rows += [_blocks("", *each) for each in by_size if each[1] or each[2]]
    return Table("blocks of memory", ("program", "bytes", "static", "dynamic", ""), tuple(rows))


def _blocks(program: str, size: str, static: int, dynamic: int) -> tuple[str, ...]:
    share = static / (static + dynamic) if static + dynamic else 1.0
    return program, size, str(static), str(dynamic), f"{share:.2%} static"


def _denials(denials: Iterable[Denied]) -> Table:
    rows = tuple(
        (
            str(each.count), each.call_name, shown(each.program), each.role, each.phase,
            ", ".join(f"{int(word):#x}" for word in each.args),
        )
        for each in denials
    )  # fmt: skip
    return Table("denied", ("times", "call", "program", "role", "phase", "first with"), rows)


def _unexpected_files(found: Observations) -> Table:
    rows = tuple(
        (str(each.count), shown(each.path), each.how, each.error_name, shown(each.program))
        for each in found.unexpected_files
    )
    others = found.unexpected_files_unlisted
    more = f" (and {others} times others, which are not listed)" if others else ""
    heads = ("times", "path", "to be", "error", "program")
    return Table(f"files asked for in vain{more}", heads, rows)


def shown(text: str) -> str:
    """A foreign text for a terminal: what could steer it is masked."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def mebibytes(kib: int) -> str:
    """A size in MiB."""
    return f"{kib / 1024:.1f} MiB"


def duration(seconds: int) -> str:
    """``3 s``, ``12 min``, ``5 h 10 min``, ``2 d 5 h``."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 60:
        return f"{seconds} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"
