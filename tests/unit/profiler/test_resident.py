"""The memory that processes hold at once: their own counts each, what they share once."""

import mmap
import os
import signal
import threading
import time

import pytest

from onejob.drive.target import Process
from onejob.profiler.resident import Held, Most, repeated, resident_kib

SIZE_KIB = 64 * 1024


def processes(*pids: int) -> list[Process]:
    return [Process(pid, 1, 0, "/same") for pid in pids]


@pytest.mark.parametrize(
    ("flags", "writes", "counts"),
    [
        (mmap.MAP_SHARED, True, False),
        (mmap.MAP_PRIVATE, True, True),
        (mmap.MAP_PRIVATE, False, False),
    ],
    ids=["shared", "own", "left as the fork made it"],
)
def test_what_a_child_shares_counts_once_and_its_own_besides(
    flags: int, writes: bool, counts: bool
) -> None:
    block = mmap.mmap(-1, SIZE_KIB * 1024, flags=flags | mmap.MAP_ANONYMOUS)
    block.write(b"x" * len(block))
    alone = resident_kib(processes(os.getpid()))
    ready, said = os.pipe()
    child = os.fork()
    if child == 0:
        for place in range(0, len(block) * writes, mmap.PAGESIZE):
            block[place] = 121
        os.write(said, b"x")
        signal.pause()
    try:
        os.read(ready, 1)
        grown = resident_kib(processes(os.getpid(), child)) - alone
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(said)
        block.close()
    assert (grown > SIZE_KIB // 2) == counts


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert resident_kib(processes(2**22 - 1)) == 0


def test_a_crowd_that_came_and_went_between_two_looks_is_counted() -> None:
    most = Most()
    most.note(Held(100, {"/a": 1, "/b": 2}, {"/a": 40, "/b": 20}))
    most.note(Held(90, {"/a": 1, "/b": 1}, {"/a": 30, "/b": 15}))
    assert most.kib == 100
    assert most.with_unseen({"/a": 1, "/b": 2}) == 100
    assert most.with_unseen({"/a": 1, "/b": 12}) == 100 + 10 * 15  # of the larger mean
    assert most.with_unseen({"/a": 0, "/never-seen": 9}) == 100
    assert Most().with_unseen({"/a": 3}) == 0


def test_it_is_looked_at_again_and_again_until_the_end() -> None:
    looks = 0
    seen = threading.Event()

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            seen.set()

    with repeated(look):
        assert seen.wait(30)
    after = looks
    time.sleep(0.6)
    assert looks == after
