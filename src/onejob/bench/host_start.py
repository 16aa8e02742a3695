"""Benchmark ``host-start``: from the start of the container to the first answer."""

from onejob.base.progress import Progress
from onejob.bench.arithmetic import spread
from onejob.bench.promises import HOST_START
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.drive.ready import wait_ready
from onejob.model.image import Image
from onejob.model.workload import Workload
from onejob.system.host import host_instance

RUNS = 5


def measure_host_start(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The median of RUNS fresh starts, each with data of its own."""
    progress.stage("host-start")
    image, workload = subject.image, subject.workload
    taken = []
    for number in range(RUNS):
        progress.step(f"run {number + 1} of {RUNS}", number / RUNS)
        taken.append(_start_once(image, workload) * 1000)
    found = spread(taken)
    ends = (("least", found.least), ("most", found.most))
    values = [Value(name=name, value=value, unit="ms") for name, value in ends]
    return (judge(HOST_START, found.median, values),)


def _start_once(image: Image, workload: Workload) -> float:
    """Seconds until it was ready."""
    with host_instance(image, host_network=workload.network == "host") as instance:
        return wait_ready(instance, workload, instance.since)
