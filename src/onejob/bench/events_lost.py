"""Benchmark ``events-lost``: whether the probe keeps up when a service is driven at full speed."""

from onejob.base.linux import need_root
from onejob.base.progress import Progress, Quiet
from onejob.bench.promises import EVENTS_LOST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.bench.watched import service_command
from onejob.model.workload import Workload
from onejob.profiler.observe import watch_calls
from onejob.profiler.recording import Recording
from onejob.profiler.sandbox_folder import run_folder

RUNS = 3


def measure_events_lost(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """Everything that the probe counted as lost, in RUNS runs of all drills."""
    need_root("watching a service")
    progress.stage("events-lost")
    recordings = []
    for number in range(RUNS):
        progress.step(f"all drills, run {number + 1} of {RUNS}", number / RUNS)
        recordings.append(_record(subject.workload))
    return (judge_lost(recordings),)


def _record(workload: Workload) -> Recording:
    with run_folder() as folder:
        return watch_calls(workload, service_command(workload), folder, Quiet())[0]


def judge_lost(recordings: list[Recording]) -> Result:
    """All losses of any kind, against the calls that were counted."""
    lost = sum(sum(recording.lost.values()) for recording in recordings)
    calls = sum(call.count for recording in recordings for call in recording.calls)
    return judge(EVENTS_LOST, lost, [Value(name="calls counted", value=calls, unit="")])
