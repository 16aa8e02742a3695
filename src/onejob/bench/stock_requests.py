"""Benchmark ``stock-requests``: what a request costs in the image and on the stock distribution.

The same binaries, command and load: in the same QEMU, our image in its machine against the stock
guest in its own, both booted, the load in turns; and on this host, the image in its container
against the service with nothing around it. Load generators run on this host.

A cost is processor time: on the host of the service's processes, user and system; in QEMU of the
whole QEMU process, because the guest's own clocks do not see what their emulation costs. So QEMU's
network, the same for both, is in it, and takes from the difference.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from onejob.base.progress import Progress
from onejob.bench.arithmetic import ratios, spread, take_turns
from onejob.bench.meter import TICKS_PER_SECOND, Cost, cpu_seconds, stat_ticks
from onejob.bench.promises import STOCK_GUEST, STOCK_HOST, Promise
from onejob.bench.result import Result, Value, judge
from onejob.bench.stock import find_stock_guest
from onejob.bench.stock_run import stock_instance
from onejob.bench.subject import Subject
from onejob.bench.watched import unwatched
from onejob.drive.judged import Runner
from onejob.drive.ready import wait_ready
from onejob.drive.target import Target
from onejob.drive.web import Answer, ask
from onejob.model.errors import InputError
from onejob.model.image import Image
from onejob.model.workload import Command, Workload, fill
from onejob.system.backlog import widen_backlogs
from onejob.system.host import host_instance
from onejob.system.instance import Instance
from onejob.system.kvm import find_accelerator
from onejob.system.qemu import qemu_instance
from onejob.system.rehearse import patient

ROUNDS = 5
STOCK_READY_S = 600.0
ANSWER_LIMIT_S = 60.0
LOAD_LIMIT_S = 300.0  # redis-benchmark spins for ever when its server dies
_GENERATORS = re.compile(r"(.*/)?(wrk|ab|redis-benchmark)")
Sides = Mapping[str, "Side"]


class Side(NamedTuple):
    """One of two that are compared: where the load goes, and its processor time so far."""

    target: Target
    clock: Callable[[], float]


def measure_stock_requests(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The median of the ratios of ROUNDS rounds, on this host and, if it has a kernel, in QEMU."""
    image, workload = subject.image, subject.workload
    load = load_of(workload)
    with _on_host(image, workload) as sides:
        host = _take(sides, workload, load, progress, "on the host")
    if image.manifest.kernel is None:
        return (judge_costs(STOCK_HOST, host),)
    with _in_guests(image, workload, progress) as sides:
        guest = _take(sides, workload, load, progress, "in QEMU")
    return judge_costs(STOCK_GUEST, guest), judge_costs(STOCK_HOST, host)


def load_of(workload: Workload) -> Command:
    """The first load generator of the workload's drills; InputError where there is none."""
    for command in (command for drill in workload.drill for command in drill.run):
        if _GENERATORS.fullmatch(command.command[0]):
            return command
    raise InputError(
        f"no drill of {workload.name} puts it under load",
        "give it a drill that runs wrk, ab or redis-benchmark",
    )


@contextmanager
def _on_host(image: Image, workload: Workload) -> Iterator[Sides]:
    """The image in a container, and the service in a throw-away view of this machine."""
    with host_instance(image) as ours, unwatched(workload) as stock:
        for target in (ours, stock):
            wait_ready(target, workload, time.monotonic())
        yield {
            "ours": Side(ours, lambda: contained_seconds(ours)),
            "stock": Side(stock, lambda: cpu_seconds(stock.processes())),
        }


def contained_seconds(instance: Instance) -> float:
    """As `cpu_seconds`, of processes that only process 1 sees."""
    texts = (instance.control.read_file(f"/proc/{p.pid}/stat") for p in instance.processes())
    return sum(stat_ticks(text.decode()) for text in texts) / TICKS_PER_SECOND


@contextmanager
def _in_guests(image: Image, workload: Workload, progress: Progress) -> Iterator[Sides]:
    """Both guests, booted, with as many processors."""
    guest = find_stock_guest(workload, progress)
    how = find_accelerator(image.kernel, image.plan.machine.how)
    slow = patient(workload)
    late = slow.model_copy(
        update={"ready": slow.readiness().model_copy(update={"within": STOCK_READY_S})}
    )
    processors = image.plan.machine.processors
    progress.stage("stock-requests: booting both guests")
    with stock_instance(guest, workload.ports, how.name, processors) as stock:
        wait_ready(stock.target, late, stock.since)
        ports = (stock.target.address(port).rpartition(":")[2] for port in workload.ports)
        widen_backlogs(stock.pid, map(int, ports))  # as ours has it
        with qemu_instance(image, accelerator=how) as ours:
            wait_ready(ours, slow, ours.since)
            yield {
                "ours": Side(ours, partial(process_seconds, ours.pid)),
                "stock": Side(stock.target, partial(process_seconds, stock.pid)),
            }


def process_seconds(pid: int) -> float:
    """User and system time of one process with all its threads."""
    return stat_ticks(Path(f"/proc/{pid}/stat").read_text()) / TICKS_PER_SECOND


def _take(
    sides: Sides, workload: Workload, load: Command, progress: Progress, where: str
) -> dict[str, list[Cost]]:
    """ROUNDS costs of each side, after one for practice."""
    progress.stage(f"stock-requests: {workload.name} {where}")
    _ask_both(sides, workload, load)
    for side in sides.values():
        cost_of(side, workload, load)
    taken: defaultdict[str, list[Cost]] = defaultdict(list)
    turns = take_turns(list(sides), ROUNDS)
    for number, name in enumerate(turns):
        progress.step(f"{load.command[0]}, {name}", number / len(turns))
        taken[name].append(cost_of(sides[name], workload, load))
    return taken


def _ask_both(sides: Sides, workload: Workload, load: Command) -> None:
    """The page that a web load asks for is the same on both sides, or there is no comparison."""
    url = load.command[-1]
    if not url.startswith("http://"):
        return
    answers = {}
    for name, side in sides.items():
        addresses = {port: side.target.address(port) for port in workload.ports}
        answers[name] = ask(side.target.network, fill(url, addresses, ""), ANSWER_LIMIT_S)
    check_answers(url, answers)


def check_answers(url: str, answers: Mapping[str, Answer]) -> None:
    """InputError unless all `answers` to `url` have one status and length."""
    if len(set(answers.values())) > 1:
        said = ", ".join(f"{name} {a.length} bytes ({a.status})" for name, a in answers.items())
        hint = "let the drill ask for a file that the service's own package brings"
        raise InputError(f"{url}: no comparison of different answers: {said}", hint)


def cost_of(side: Side, workload: Workload, load: Command) -> Cost:
    """What one load takes of one side."""
    before = side.clock()
    requests = Runner(side.target, workload).run_all((load,), "", LOAD_LIMIT_S)
    return Cost(side.clock() - before, requests)


def judge_costs(promise: Promise, taken: Mapping[str, Sequence[Cost]]) -> Result:
    """The median of the ratios of each round, with what it was made of."""
    costs = {n: [c.microseconds_per_request for c in taken[n]] for n in ("ours", "stock")}
    found = spread(ratios(costs["ours"], costs["stock"]))
    values = (
        Value(name="least", value=found.least, unit="x"),
        Value(name="most", value=found.most, unit="x"),
        Value(name="requests per CPU second, of stock", value=1 / found.median, unit="x"),
        Value(name="ours", value=spread(costs["ours"]).median, unit="us"),
        Value(name="stock", value=spread(costs["stock"]).median, unit="us"),
    )
    return judge(promise, found.median, values)
