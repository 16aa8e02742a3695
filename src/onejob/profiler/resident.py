"""How much memory a service holds, looked at again and again while it runs."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onejob.drive.target import Process

_PERIOD_S = 0.25


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
    """The memory of all `processes`: each one's own at its peak, and what a program's share, once.

    Fields of ``/proc/PID/status`` (proc(5)); pages of files and of shared memory count as shared.
    """
    own = 0
    shared: defaultdict[str, int] = defaultdict(int)
    for process in processes:
        fields = _memory_fields(process.pid)
        common = fields.get("RssFile", 0) + fields.get("RssShmem", 0)
        own += max(fields.get("VmHWM", 0) - common, fields.get("RssAnon", 0))
        shared[process.program] = max(shared[process.program], common)
    return own + sum(shared.values())


def _memory_fields(pid: int) -> dict[str, int]:
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    found = (row.partition(":") for row in rows if row.startswith(("VmHWM", "Rss")))
    return {name: int(value.split()[0]) for name, _, value in found}
