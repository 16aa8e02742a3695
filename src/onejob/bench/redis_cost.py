"""Benchmark ``redis-cost``: processor time of a redis per SET, watched in each way by unwatched.

The gallery's redis, which has jemalloc, under pipelines of 16: an allocation or two for each
request, and hardly a system call. It is started afresh for each turn.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from onejob.base.linux import need_root
from onejob.base.natives import data_path
from onejob.base.progress import Progress
from onejob.bench.arithmetic import ratios, spread, take_turns
from onejob.bench.meter import Cost, meter_drills
from onejob.bench.promises import REDIS_COST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.bench.watched import Place, probed, probed_and_recorded, recorded, unwatched
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Command, Drill, Workload
from onejob.profiler.packages import need_packages

ROUNDS = 3
REQUESTS = 400_000
PLACES: dict[str, Place] = {
    "unwatched": unwatched,
    "probe": probed,
    "recorder": recorded,
    "both": probed_and_recorded,
}
_WITHIN_S = 60.0  # redis-benchmark spins for ever when its server dies


def measure_redis_cost(_subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The median of ROUNDS ratios, with probe and recorder; of each alone besides."""
    need_root("running a service in a sandbox")
    workload = loaded(REQUESTS)
    need_packages(workload.packages, workload.name)
    progress.stage("redis-cost")
    taken: defaultdict[str, list[Cost]] = defaultdict(list)
    turns = take_turns(list(PLACES), ROUNDS)
    for number, name in enumerate(turns):
        progress.step(f"SET, {name}", number / len(turns))
        taken[name].append(meter_drills(PLACES[name], workload)["set"])
    return (judge_redis(taken),)


def loaded(requests: int) -> Workload:
    """The gallery's redis with one drill: so many SETs."""
    path = data_path("services") / "redis/workload.toml"
    gallery = parse_toml(path.read_text(), Workload, str(path))
    words = f"redis-benchmark -u redis://{{address:6379}} -n {requests} -P 16 -c 32 -r 5000 -t set"
    load = Drill(name="set", run=(Command(command=tuple(words.split())),), within=_WITHIN_S)
    return gallery.model_copy(update={"drill": (load,)})


def judge_redis(taken: Mapping[str, Sequence[Cost]]) -> Result:
    """The median of the ratios of each round, with what they were made of."""
    costs = {name: [cost.microseconds_per_request for cost in taken[name]] for name in PLACES}
    found = {name: spread(ratios(costs[name], costs["unwatched"])) for name in PLACES}
    values = [Value(name=f"{name} alone", value=found[name].median, unit="x")
              for name in ("probe", "recorder")]  # fmt: skip
    values += [
        Value(name="least", value=found["both"].least, unit="x"),
        Value(name="most", value=found["both"].most, unit="x"),
        Value(name="unwatched", value=spread(costs["unwatched"]).median, unit="us"),
        Value(name="watched", value=spread(costs["both"]).median, unit="us"),
        Value(name="requests", value=sum(cost.requests for cost in taken["both"]), unit=""),
    ]
    return judge(REDIS_COST, found["both"].median, values)
