"""The process that benchmark ``million`` measures: makes a large profile, writes it, reads it."""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from onejob.base.files import write_atomically
from onejob.model.profile import Argument, CallUse, FileUse, How, Profile, Use
from onejob.model.profile_xml import load_profile, profile_chunks
from onejob.model.rows import pack

FILES, ARGUMENTS, CALLS = 400_000, 400_000, 200_000
_DRILLS = ("start", "serve", "reload", "overload", "stop")
_CALLS = ("openat", "ioctl", "fcntl", "mmap", "setsockopt", "socket", "prctl", "clone3")


def million(scale: float = 1.0) -> Profile:
    """A profile of a million distinct facts, times `scale`: files with uses, arguments, calls."""
    return Profile(
        name="million",
        files=pack(FileUse, map(_file, range(int(FILES * scale)))),
        arguments=pack(Argument, map(_argument, range(int(ARGUMENTS * scale)))),
        calls=pack(CallUse, map(_call, range(int(CALLS * scale)))),
    )


def _file(number: int) -> FileUse:
    """In turns one of a package, with its hash, and one that the service made and removed."""
    if number % 2:
        path = f"/var/spool/mail-queue/input/{number % 61}/1tGx{number:06x}-D"
        return FileUse(
            path=path, kind="missing", existed=False,
            uses=(_use(number, "created"), _use(number, "removed")),
        )  # fmt: skip
    return FileUse(
        path=f"/usr/lib/python3/dist-packages/module{number // 400}/part_{number}.py",
        kind="file", size=number * 37 % 200_000, mode=0o644,
        sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        package=f"python3-module{number // 4000}=1.{number // 4000}-2",
        uses=(_use(number, "read"),),
    )  # fmt: skip


def _use(number: int, how: How) -> Use:
    return Use(
        program=_program(number % 7), drill=_DRILLS[number % 5], how=how, count=number % 97 + 1
    )  # fmt: skip


def _argument(number: int) -> Argument:
    return Argument(
        program=_program(number % 50), call_name=_CALLS[number % 8], drill=_DRILLS[number % 5],
        values=(number // 8, number % 3, 524_288), count=number % 1009 + 1, failed=number % 2,
    )  # fmt: skip


def _call(number: int) -> CallUse:
    return CallUse(
        program=_program(number // 40), call_name=_CALLS[number % 8], phase="serve",
        drill=_DRILLS[number // 8 % 5], count=number % 1009 + 1, failed=number % 2,
        errors=(2,) * (number % 2),
    )  # fmt: skip


def _program(number: int) -> str:
    return f"/usr/lib/service/bin/worker-{number}"


def measure(folder: Path, scale: float = 1.0) -> dict[str, Any]:
    """Processor seconds of each step, and the peak of this process's memory."""
    path = folder / "million.profile.xml"
    clock = [time.process_time()]
    profile = million(scale)
    clock.append(time.process_time())
    write_atomically(path, profile_chunks(profile))
    clock.append(time.process_time())
    again = load_profile(path)
    clock.append(time.process_time())
    assert again == profile
    peak = _peak_bytes()
    lists = (again.files, again.arguments, again.calls)
    before = time.process_time()
    facts = sum(1 for rows in lists for _ in rows)
    return {
        "facts": facts,
        "pack_s": clock[1] - clock[0],
        "write_s": clock[2] - clock[1],
        "read_s": clock[3] - clock[2],
        "visit_s": time.process_time() - before,
        "peak_bytes": peak,
        "file_bytes": path.stat().st_size,
    }


def _peak_bytes() -> int:
    """VmHWM of proc(5): getrusage(2) would have that of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) * 1024


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
