"""Benchmark ``build-time``: how long an image takes, and its kernel, from nothing and again.

By the clock, as whoever waits for it sees it: a kernel is built by all processors at once. The cold
one is built in a cache of its own, which is removed afterwards.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from onejob.base.natives import cache_path, data_path
from onejob.base.progress import Progress, Quiet
from onejob.bench.arithmetic import spread
from onejob.bench.promises import IMAGE_TIME, KERNEL_AGAIN, KERNEL_COLD, KERNEL_LEAF
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.builder.image import build_image
from onejob.builder.kernel import build_kernel
from onejob.model.component import load_components
from onejob.model.hardware import load_hardware
from onejob.model.plan import KernelOption
from onejob.model.profile import Profile
from onejob.model.profile_xml import write_profile
from onejob.planner.plan import make_plan

RUNS = 3
# One object file, on which nothing else depends (kernel/kcmp.c).
_LEAF = KernelOption(name="KCMP", value="y", reason="an option to change")


def measure_build_time(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The image RUNS times; the kernel cold, with another leaf option, and again."""
    progress.stage("build-time")
    image, profile = subject.image, subject.profile
    cache_path().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-time-", dir=cache_path()) as folder:
        taken = []
        for number in range(RUNS):
            progress.step(f"profile to image, {number + 1} of {RUNS}")
            taken.append(_seconds_of_image(profile, Path(folder) / f"{number}.onejob"))
        options = image.plan.kernel_options
        cold, _ = _seconds_of_kernel(options, Path(folder), progress, "from nothing")
        leaf, _ = _seconds_of_kernel(toggled(options, _LEAF), Path(folder), progress, "a leaf")
        again, cached = _seconds_of_kernel(options, Path(folder), progress, "again")
    found = spread(taken)
    ends = [
        Value(name=n, value=v, unit="s") for n, v in (("least", found.least), ("most", found.most))
    ]
    return (
        judge(IMAGE_TIME, found.median, ends),
        judge(KERNEL_COLD, cold, [Value(name="options", value=len(options), unit="")]),
        judge(KERNEL_LEAF, leaf, []),
        judge(KERNEL_AGAIN, again, [Value(name="from the cache", value=int(cached), unit="")]),
    )


def toggled(options: Sequence[KernelOption], leaf: KernelOption) -> tuple[KernelOption, ...]:
    """Without `leaf` where it is among them, else with it."""
    others = tuple(option for option in options if option.name != leaf.name)
    return others if len(others) < len(options) else (*others, leaf)


def _seconds_of_image(profile: Profile, place: Path) -> float:
    """From the profile in hand to an image without a kernel."""
    since = time.monotonic()
    hardware = load_hardware(data_path("hardware") / "qemu-microvm.json")
    plan = make_plan(profile, hardware, load_components(data_path("components")))
    xml = write_profile(profile)
    build_image(plan, xml, place, with_kernel=False, cache=cache_path(), progress=Quiet())
    return time.monotonic() - since


def _seconds_of_kernel(
    options: Sequence[KernelOption], cache: Path, progress: Progress, what: str
) -> tuple[float, bool]:
    """And whether it came from the cache."""
    since = time.monotonic()
    built = build_kernel(
        options, cache, cache / "build.log",
        lambda step, part: progress.step(f"kernel {what}: {step}", part),
    )  # fmt: skip
    return time.monotonic() - since, built.cached
