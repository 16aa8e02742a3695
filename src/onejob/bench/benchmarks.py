"""All benchmarks, in the order in which they are shown and run: the quick ones first."""

from onejob.base.progress import Progress
from onejob.bench.attacks.measure import measure_attacks
from onejob.bench.boot import measure_boot
from onejob.bench.build_time import measure_build_time
from onejob.bench.call_cost import measure_call_cost
from onejob.bench.events_lost import measure_events_lost
from onejob.bench.gallery.measure import measure_gallery
from onejob.bench.host_start import measure_host_start
from onejob.bench.image_size import measure_image_size
from onejob.bench.installer import measure_installer
from onejob.bench.malloc_cost import measure_malloc_cost
from onejob.bench.malloc_speed import measure_malloc_speed
from onejob.bench.malloc_traces import measure_malloc_traces
from onejob.bench.memory_floor import measure_memory_floor
from onejob.bench.memory_static import measure_memory_static
from onejob.bench.million import measure_million
from onejob.bench.path_cost import measure_path_cost
from onejob.bench.profile_cost import measure_profile_cost
from onejob.bench.ptrace_cost import measure_ptrace_cost
from onejob.bench.redis_cost import measure_redis_cost
from onejob.bench.result import Result
from onejob.bench.row_cost import measure_row_cost
from onejob.bench.stock_requests import measure_stock_requests
from onejob.bench.subject import Benchmark, Subject
from onejob.model.errors import InputError

BENCHMARKS = (
    Benchmark("image-size", measure_image_size),
    Benchmark("million", measure_million),
    Benchmark("host-start", measure_host_start),
    Benchmark("events-lost", measure_events_lost),
    Benchmark("call-cost", measure_call_cost),
    Benchmark("profile-cost", measure_profile_cost),
    Benchmark("redis-cost", measure_redis_cost),
    Benchmark("malloc-cost", measure_malloc_cost),
    Benchmark("malloc-speed", measure_malloc_speed),
    Benchmark("malloc-traces", measure_malloc_traces),
    Benchmark("path-cost", measure_path_cost),
    Benchmark("memory-static", measure_memory_static),
    Benchmark("ptrace-cost", measure_ptrace_cost),
    Benchmark("row-cost", measure_row_cost),
    Benchmark("memory-floor", measure_memory_floor),
    Benchmark("stock-requests", measure_stock_requests),
    Benchmark("boot", measure_boot),
    Benchmark("build-time", measure_build_time),
    Benchmark("installer", measure_installer),
    Benchmark("attacks", measure_attacks),
    Benchmark("gallery", measure_gallery),
)


def choose_benchmarks(names: list[str]) -> tuple[Benchmark, ...]:
    """Those called `names`, ``all`` being all of them; InputError for a name of none."""
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if names == ["all"]:
        return BENCHMARKS
    for name in names:
        if name not in known:
            raise InputError(f"there is no benchmark {name!r}", f"known: {', '.join(known)}, all")
    return tuple(known[name] for name in dict.fromkeys(names))


def run_benchmarks(
    benchmarks: tuple[Benchmark, ...], subject: Subject, progress: Progress
) -> tuple[Result, ...]:
    """One after the other: beside each other they would measure each other."""
    results: list[Result] = []
    for benchmark in benchmarks:
        results += benchmark.measure(subject, progress)
    return tuple(results)
