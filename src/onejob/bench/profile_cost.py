"""Benchmark ``profile-cost``: processor time of the service per request, watched by unwatched.

Each run starts the service afresh in the profiler's sandbox and puts it under its load drill. The
three places take turns, and each round gives a ratio of what was measured side by side.
"""

from collections import defaultdict
from collections.abc import Sequence

from onejob.base.linux import need_root
from onejob.base.progress import Progress
from onejob.bench.arithmetic import ratios, spread, take_turns
from onejob.bench.meter import Cost, busiest_drill, meter_drills, only_drill
from onejob.bench.promises import PROBE_COST, RECORDER_COST, Promise
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.bench.watched import Place, probed, recorded, unwatched

ROUNDS = 5
PLACES: dict[str, Place] = {"unwatched": unwatched, "probe": probed, "recorder": recorded}


def measure_profile_cost(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """Medians of ROUNDS ratios: under the probe, and with the recorder."""
    need_root("running a service in a sandbox")
    workload = subject.workload
    progress.stage("profile-cost")
    progress.step("all drills once, to find the one with the load")
    load = busiest_drill(meter_drills(unwatched, workload), workload.name)
    loaded = only_drill(workload, load)
    taken: defaultdict[str, list[Cost]] = defaultdict(list)
    turns = take_turns(list(PLACES), ROUNDS)
    for number, name in enumerate(turns):
        progress.step(f"drill {load}, {name}", number / len(turns))
        taken[name].append(meter_drills(PLACES[name], loaded)[load])
    bases = taken["unwatched"]
    return (
        judge_cost(PROBE_COST, taken["probe"], bases),
        judge_cost(RECORDER_COST, taken["recorder"], bases),
    )


def judge_cost(promise: Promise, watched: Sequence[Cost], bases: Sequence[Cost]) -> Result:
    """The median of the ratios of each round, with what they were made of."""
    costs = [cost.microseconds_per_request for cost in watched]
    base_costs = [cost.microseconds_per_request for cost in bases]
    found = spread(ratios(costs, base_costs))
    values = (
        Value(name="least", value=found.least, unit="x"),
        Value(name="most", value=found.most, unit="x"),
        Value(name="unwatched", value=spread(base_costs).median, unit="us"),
        Value(name="watched", value=spread(costs).median, unit="us"),
        Value(name="requests", value=sum(cost.requests for cost in watched), unit=""),
    )
    return judge(promise, found.median, values)
