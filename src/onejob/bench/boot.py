"""Benchmark ``boot``: start to first answer in QEMU, ours against a stock Debian guest.

Both boot side by side in turns, under the same QEMU, accelerator and number of processors, and are
asked in the same way. Each time is from the exec of QEMU to the first answer. A stock guest that
has not answered after STOCK_LIMIT_S counts as if it did at that moment, which is in its favour.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from onejob.base.progress import Progress
from onejob.bench.arithmetic import alternate, spread
from onejob.bench.promises import BOOT_RATIO
from onejob.bench.result import Result, Value, judge
from onejob.bench.stock import StockGuest, find_stock_guest
from onejob.bench.stock_run import stock_instance
from onejob.bench.subject import Subject
from onejob.drive.ready import wait_ready
from onejob.model.errors import ServiceError
from onejob.model.image import Image
from onejob.model.workload import Workload
from onejob.system.kvm import Accelerator, find_accelerator
from onejob.system.qemu import qemu_instance

RUNS = {"ours": 3, "stock": 2}
STOCK_LIMIT_S = 180.0


class Boot(NamedTuple):
    """One boot: from start to first answer by the clock, and QEMU's processor time for it."""

    seconds: float
    cpu_seconds: float


def measure_boot(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The ratio of the medians."""
    image, workload = subject.image, subject.workload
    stock = find_stock_guest(workload, progress)
    progress.stage("boot")
    accelerator = find_accelerator(image.kernel, image.plan.machine.how)
    boots = _Boots(image, workload, stock, accelerator)
    ways = {"ours": boots.ours, "stock": boots.stock}
    taken: dict[str, list[Boot]] = {name: [] for name in RUNS}
    turns = alternate(RUNS)
    for number, name in enumerate(turns):
        progress.step(f"{name}, by {accelerator.name}", number / len(turns))
        taken[name].append(ways[name]())
    return (judge_boots(taken["ours"], taken["stock"]),)


def judge_boots(ours: list[Boot], stock: list[Boot]) -> Result:
    """Both medians, and the one by the other."""
    mine, theirs = (spread([b.seconds for b in boots]).median for boots in (ours, stock))
    my_cpu, their_cpu = (spread([b.cpu_seconds for b in boots]).median for boots in (ours, stock))
    cut = sum(boot.seconds >= STOCK_LIMIT_S for boot in stock)
    values = (
        Value(name="ours", value=mine, unit="s"),
        Value(name="stock", value=theirs, unit="s"),
        Value(name="processor time of ours", value=my_cpu, unit="s"),
        Value(name="processor time of stock", value=their_cpu, unit="s"),
        Value(name="stock boots cut short", value=cut, unit=""),
        Value(name="ratio of processor times", value=my_cpu / their_cpu, unit="x"),
    )
    return judge(BOOT_RATIO, mine / theirs, values)


@dataclass(frozen=True)
class _Boots:
    """One boot of each kind."""

    image: Image
    workload: Workload
    guest: StockGuest
    accelerator: Accelerator

    def ours(self) -> Boot:
        """The image, in its machine with its memory."""
        return _timed(self._ours)

    def stock(self) -> Boot:
        """The stock guest, which may take longer than the workload allows."""
        return _timed(self._stock)

    def _ours(self) -> float:
        with qemu_instance(self.image, accelerator=self.accelerator) as instance:
            return wait_ready(instance, self.workload, instance.since)

    def _stock(self) -> float:
        ready = self.workload.readiness().model_copy(update={"within": STOCK_LIMIT_S})
        patient = self.workload.model_copy(update={"ready": ready})
        processors = self.image.plan.machine.processors
        name = self.accelerator.name
        with stock_instance(self.guest, self.workload.ports, name, processors) as instance:
            try:
                return wait_ready(instance.target, patient, instance.since)
            except ServiceError:
                if time.monotonic() - instance.since < STOCK_LIMIT_S:
                    raise
                return STOCK_LIMIT_S


def _timed(boot: Callable[[], float]) -> Boot:
    """With the processor time of the children that ended meanwhile: QEMU, as good as alone."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = boot()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Boot(seconds, user + system)
