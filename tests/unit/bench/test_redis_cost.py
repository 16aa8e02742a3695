"""The cost of watching a redis: under each watcher it serves all requests, and both count."""

import shutil

import pytest

from onejob.bench.meter import Cost, meter_drills
from onejob.bench.promises import REDIS_COST
from onejob.bench.redis_cost import PLACES, judge_redis, loaded

REQUESTS = 2000


def test_the_load_ends_even_if_the_server_does_not_answer() -> None:
    (drill,) = loaded(REQUESTS).drill
    assert drill.within == 60
    assert "-n 2000 -P 16" in " ".join(drill.run[0].command)


@pytest.mark.root
@pytest.mark.ebpf
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
@pytest.mark.parametrize("name", PLACES)
def test_every_request_is_served_in_every_place(name: str) -> None:
    assert meter_drills(PLACES[name], loaded(REQUESTS))["set"].requests == REQUESTS


def test_what_counts_is_the_median_of_both_by_unwatched() -> None:
    result = judge_redis(
        {
            "unwatched": [Cost(1, 1000), Cost(2, 1000), Cost(1, 1000)],
            "probe": [Cost(1.1, 1000), Cost(2, 1000), Cost(1.3, 1000)],
            "recorder": [Cost(1.2, 1000), Cost(2, 1000), Cost(1.4, 1000)],
            "both": [Cost(1.3, 1000), Cost(2.4, 1000), Cost(1.1, 1000)],
        }
    )
    assert (result.promise, result.measured, result.passed) == (REDIS_COST.text, 1.2, True)
    values = " ".join(map(str, result.values))
    assert values.startswith("probe alone 1.1x recorder alone 1.2x least 1.1x most 1.3x")
