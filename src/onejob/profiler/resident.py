"""How much memory a service holds, looked at again and again while it runs."""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from onejob.drive.target import Process

_PERIOD_S = 0.25
_FIELD = re.compile(r"^(VmHWM|Rss\w+|Pss_Anon):\s+(\d+) kB$", re.M)


@contextmanager
def repeated(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every quarter of a second, in a thread, as long as the context lasts.

    Between drills alone, what lives for one of them would be missed.
    """
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(_PERIOD_S):
            look()

    thread = threading.Thread(target=repeat, name="onejob-memory")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def resident_kib(processes: Iterable[Process]) -> int:
    """The memory of all `processes`: each one's part, and what a program's share, once.

    A process's part is its anonymous memory, of which what a fork left shared is divided among all
    that have it (Pss_Anon of ``/proc/PID/smaps_rollup``), and as much as it once held more than now
    (VmHWM of ``/proc/PID/status``). Pages of files and of shared memory count as a program's. See
    proc(5) and Documentation/filesystems/proc.rst.
    """
    own = 0
    shared: defaultdict[str, int] = defaultdict(int)
    for process in processes:
        fields = _memory_fields(process.pid)
        common = fields.get("RssFile", 0) + fields.get("RssShmem", 0)
        anonymous = fields.get("RssAnon", 0)
        once_more = max(fields.get("VmHWM", 0) - common - anonymous, 0)
        own += fields.get("Pss_Anon", anonymous) + once_more
        shared[process.program] = max(shared[process.program], common)
    return own + sum(shared.values())


def _memory_fields(pid: int) -> dict[str, int]:
    """In KiB. Without Pss_Anon on a kernel without CONFIG_PROC_PAGE_MONITOR."""
    text = ""
    for name in ("status", "smaps_rollup"):
        with suppress(OSError):
            text += Path(f"/proc/{pid}/{name}").read_text()
    return {name: int(size) for name, size in _FIELD.findall(text)}
