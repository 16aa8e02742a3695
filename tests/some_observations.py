"""Observations for tests: of a web server with one worker, changed where a test says so."""

from typing import Any

from onejob.model.observations import (
    Denied,
    Folder,
    Observations,
    Peaks,
    ProgramHeld,
    Running,
)

WEB = "/usr/sbin/web"


def held(**changes: int) -> dict[str, int]:
    return {"processes": 2, "threads": 2, "descriptors": 12, "resident_kib": 4096} | changes


def denied(call: int = 101, **changes: Any) -> Denied:
    fields: dict[str, Any] = {
        "pid": 7, "program": WEB, "call": call, "args": ("0", "1", "2", "3", "4", "5"),
        "role": "worker", "phase": "serve", "count": 3,
    }  # fmt: skip
    return Denied(**fields | changes)


def process(pid: int, **changes: Any) -> Running:
    fields: dict[str, Any] = {
        "pid": pid, "ppid": 1, "start": 50, "program": WEB, "threads": 1, "descriptors": 12,
        "resident_kib": 4096, "role": "main", "phase": "serve",
    }  # fmt: skip
    return Running(**fields | changes)


def observations(**changes: Any) -> Observations:
    fields: dict[str, Any] = {
        "name": "web", "time": 1_700_000_000, "running_ms": 3_723_000,
        "peaks": Peaks(sockets=5, **held()), "programs": (ProgramHeld(program=WEB, **held()),),
        "processes": (process(7), process(8, role="worker")), "denials": (denied(),),
        "folders": (Folder(path="/var/log/web", names=("access.log",), entries=1),),
    }  # fmt: skip
    return Observations(**fields | changes)
