"""The container of the tests of rows: a plan with a call matrix, and a service that tries calls."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from init_container import ASK, CALLS, TRACE, Container, call_filter, instruction

UMASK, GETPPID, GETTID, LISTEN, SECCOMP = 95, 110, 186, 50, 317
EPOLL_CREATE1 = 291
# What rows_job.c and the loader of a dynamic program call beyond CALLS.
UNION = {
    *CALLS.values(), UMASK, GETTID, LISTEN,
    17, 20, 21, 28, 41, 45, 49, 53, 54, 58, 98, 107, 219, 232, 291, 293, 435,
}  # fmt: skip
BOOT = UNION - {UMASK}
MAIN = BOOT - {GETPPID, GETTID}
WORKER = BOOT - {GETPPID}


# The filters lie in slots of so many instructions, the rest of which is never reached.
SLOT = 256


def row(program: str, role: str, number: int, **more: Any) -> dict[str, Any]:
    return {"program": program, "role": role, "boot": place(number), **more}


def serve(number: int) -> dict[str, Any]:
    return {"serve": place(number)}


def place(number: int) -> tuple[int, int]:
    return number * SLOT, SLOT


ROWS = [row("/job", "main", 0, **serve(1)), row("/job", "worker", 0, **serve(2))]


def make_container(folder: Path, job: Path) -> Container:
    """With a plan that has rows, and what they need."""
    made = Container(folder, job)
    libraries = subprocess.run(["ldd", str(job)], capture_output=True, text=True, timeout=60).stdout
    for path in re.findall(r"(/\S+) \(0x", libraries):
        (made.root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, made.root / path[1:])
    shutil.copy(job, made.root / "other")
    made.capabilities.append("CAP_SYS_PTRACE")
    made.plan["rows"] = ROWS
    made.policy = call_filter(UNION, ASK)
    for number, calls in enumerate((BOOT, MAIN, WORKER)):
        put_row(made, number, calls)
    return made


def put_row(container: Container, number: int, calls: set[int]) -> None:
    found = container.rows
    never = instruction(0x06, 0, 0, TRACE)
    slots = [found[at : at + 8 * SLOT] for at in range(0, len(found), 8 * SLOT)]
    slots += [never * SLOT] * (number + 1 - len(slots))
    program = call_filter(calls, TRACE)
    slots[number] = program + never * (SLOT - len(program) // 8)
    container.rows = b"".join(slots)


def verdicts(container: Container, who: str) -> list[dict[str, str]]:
    """What `who` of rows_job.c said of its calls, each time that it tried them."""
    said = re.findall(rf"^{who} (umask|getppid|gettid): (.*)$", container.console, re.M)
    return [dict(said[at : at + 3]) for at in range(0, len(said), 3)]


def allowed(*names: str) -> dict[str, str]:
    refused = "Operation not permitted"
    return {n: "allowed" if n in names else refused for n in ("umask", "getppid", "gettid")}
