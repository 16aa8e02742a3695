"""The cost of rows: the median of pairs, and processes found by their numbers on this host."""

import os
import subprocess
from typing import cast

import pytest

from onejob.bench.meter import Cost
from onejob.bench.row_cost import OnHost, judge_rows
from onejob.drive.target import Process
from onejob.system.host import HostInstance


def test_the_median_of_the_pairs_counts() -> None:
    filtered = [Cost(cpu_seconds=seconds, requests=100) for seconds in (1.1, 1.0, 2.0)]
    bare = [Cost(cpu_seconds=1.0, requests=100) for _ in range(3)]
    result = judge_rows(filtered, bare)
    assert result.measured == pytest.approx(1.1)
    values = {value.name: value.value for value in result.values}
    assert values["least"] == 1.0
    assert values["most"] == 2.0
    assert values["without a filter"] == pytest.approx(10_000)
    assert values["requests"] == 300


class Inside:
    """An instance that tells of one process, in its own words."""

    def __init__(self, pid: int, start: int) -> None:
        self._process = Process(pid=pid, parent=0, start=start, program="/bin/sleep")

    def processes(self) -> tuple[Process, ...]:
        return (self._process,)


def test_a_process_is_found_by_number_and_start_and_its_parent_counts() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            with open(f"/proc/{child.pid}/stat") as stat:
                start = int(stat.read().rpartition(")")[2].split()[19])
            found = OnHost(cast(HostInstance, Inside(child.pid, start))).processes()
            assert [process.pid for process in found] == [child.pid, os.getpid()]
            other = OnHost(cast(HostInstance, Inside(child.pid, start + 1)))
            assert other.processes() == ()
        finally:
            child.kill()
