"""What a watched call costs: the figures that are made of pairs, and the loops that give them."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from onejob.bench import call_loops
from onejob.bench.call_cost import (
    IN_A_REQUEST,
    Loops,
    compare_calls,
    find_difference,
    judge_calls,
)
from onejob.model.errors import ServiceError


def test_the_quickest_pairs_count() -> None:
    quiet = [(130.0, 100.0), (128.0, 101.0), (131.0, 99.0)]
    disturbed = [(900.0, 100.0), (100.0, 900.0), (700.0, 650.0)] * 3
    assert find_difference(disturbed + quiet) == 30
    assert find_difference([(5.0, 3.0)]) == 2


def test_a_request_makes_some_calls_twice_and_others_not_at_all() -> None:
    rounds = [dict.fromkeys(IN_A_REQUEST, cost) for cost in (10.0, 30.0, 20.0)]
    result = judge_calls(rounds)
    values = {value.name: value.value for value in result.values}
    assert result.measured == 20 * 10  # nine kinds, one of them twice
    assert (values["least"], values["most"], values["setsockopt"]) == (100, 300, 20)
    assert judge_calls([{**rounds[0], "setsockopt": 17.0}]).measured == 100 + 2 * 7
    assert judge_calls([{**rounds[0], "getppid": 1e6}]).measured == 100


def test_every_kind_is_a_call_that_can_be_made(tmp_path: Path) -> None:
    with call_loops.make_calls(tmp_path) as calls:
        assert set(calls) == set(IN_A_REQUEST)
        for call in calls.values():
            call()
        assert (tmp_path / "log").stat().st_size == 64


def test_a_process_that_ends_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        command = [sys.executable, call_loops.__file__, str(tmp_path / "socket")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            with listening.accept()[0] as connection:
                loops = Loops(connection)
                assert loops.time("getppid") > 0
                process.kill()
                process.wait(20)
                with pytest.raises(ServiceError, match="times getppid does not answer"):
                    loops.time("getppid")
        finally:
            process.kill()
            process.wait(20)


@pytest.mark.root
@pytest.mark.ebpf
def test_each_kind_of_call_has_its_figure() -> None:
    assert set(compare_calls(8)) == set(IN_A_REQUEST)
