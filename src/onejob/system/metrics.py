"""Metrics of a running instance in Prometheus' text format, over HTTP on a Unix socket or a port.

Whoever scrapes is told what `observations` says at that moment; nothing else can be asked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from onejob.model.errors import OnejobError
from onejob.model.observations import Observations
from onejob.model.plan import Plan
from onejob.system.serving import Place, served

TIMEOUT_S = 10.0
Observe = Callable[[], Observations]


@contextmanager
def metrics_served(place: Place, observe: Observe, plan: Plan) -> Iterator[None]:
    """Answer GET /metrics at `place` as long as the context lasts."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Instance(observe, plan))
    with served(place, _handler(registry)):
        yield


def _handler(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:  # the name that the library calls
            if self.path != "/metrics":
                self.send_error(404)
                return
            try:
                body = generate_latest(registry)
            except OnejobError as error:
                self.send_error(503, explain=error.what)
                return
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Scrapes are no news."""

    return Handler


class _Instance(Collector):
    """What prometheus_client asks at each scrape."""

    def __init__(self, observe: Observe, plan: Plan) -> None:
        self._observe, self._plan = observe, plan

    def collect(self) -> Iterator[Metric]:
        yield from metrics_of(self._observe(), self._plan)


def metrics_of(found: Observations, plan: Plan) -> Iterator[Metric]:
    """The metrics of one moment. Their names are in docs/observations.md."""
    name = found.name
    yield _gauge(
        "running_seconds", "since the start", ["name"], [((name,), found.running_ms / 1000)]
    )
    restarts = [((name,), found.restarts)]
    yield _counter("restarts", "the service failed, and was started again", ["name"], restarts)
    yield _processes(found)
    peaks = [((kind,), value) for kind, value in found.peaks.model_dump().items()]
    yield _gauge("peak", "most at once", ["of"], peaks)
    sizes = {**plan.sizes("limit"), **plan.sizes("cgroup")}
    limits = [((name,), int(value)) for name, value in sizes.items()]
    yield _gauge("limit", "limits of the plan", ["resource"], limits)
    denials = [
        ((each.program, each.role, each.phase, each.call_name), each.count)
        for each in found.denials
    ]
    labels = ["program", "role", "phase", "call"]
    yield _counter("denied_calls", "system calls that were denied", labels, denials)
    blocks = [
        ((use.program, kind), getattr(use, kind))
        for use in found.memory
        for kind in ("static", "dynamic")
    ]
    yield _counter("blocks", "memory blocks from arrays, and relayed", ["program", "kind"], blocks)
    relayed = [
        ((use.program, str(array.block_size)), array.relayed)
        for use in found.memory
        for array in use.arrays
    ]
    yield _counter("relayed_blocks", "of arrays that were used up", ["program", "size"], relayed)
    yield _counter(
        "unexpected_files", "files asked for in vain, and not so when profiled",
        ["program", "error"], _unexpected_files(found),
    )  # fmt: skip
    faults = [((use.program,), use.faults) for use in found.memory]
    yield _counter("wrong_frees", "frees of what was not a block", ["program"], faults)


def _unexpected_files(found: Observations) -> "Rows":
    """Not by path: names may be a client's, and many."""
    counts: dict[tuple[str, ...], int] = {}
    for each in found.unexpected_files:
        key = (each.program, each.error_name)
        counts[key] = counts.get(key, 0) + each.count
    if found.unexpected_files_unlisted:
        counts["", "unlisted"] = found.unexpected_files_unlisted
    return list(counts.items())


def _processes(found: Observations) -> Metric:
    counts: dict[tuple[str, ...], int] = {}
    for each in found.processes:
        key = (each.program, each.role, each.phase)
        counts[key] = counts.get(key, 0) + 1
    rows = list(counts.items())
    return _gauge("processes", "that run now", ["program", "role", "phase"], rows)


Rows = Sequence[tuple[tuple[str, ...], float]]


def _gauge(name: str, words: str, labels: list[str], rows: Rows) -> Metric:
    family = GaugeMetricFamily(f"onejob_{name}", words, labels=labels)
    for values, number in rows:
        family.add_metric(list(values), number)
    return family


def _counter(name: str, words: str, labels: list[str], rows: Rows) -> Metric:
    family = CounterMetricFamily(f"onejob_{name}", words, labels=labels)
    for values, number in rows:
        family.add_metric(list(values), number)
    return family
