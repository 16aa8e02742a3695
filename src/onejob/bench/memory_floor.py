"""Benchmark ``memory-floor``: how little guest memory the whole rehearsal still passes with."""

from onejob.base.progress import Progress, Quiet
from onejob.bench.arithmetic import find_least
from onejob.bench.promises import MEMORY_FLOOR
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.model.errors import RehearsalError, ServiceError
from onejob.model.image import Image
from onejob.system.rehearse import rehearse

LEAST_MIB, MOST_MIB, STEP_MIB = 16, 64, 2


def measure_memory_floor(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """By bisection; each trial is a rehearsal with all drills in a fresh guest."""
    progress.stage("memory-floor")
    image, trials = subject.image, 0

    def passes(memory_mib: int) -> bool:
        nonlocal trials
        progress.step(f"trial {trials + 1}: the rehearsal with {memory_mib} MiB")
        trials += 1
        return _passes(image, memory_mib)

    floor = find_least(LEAST_MIB, MOST_MIB, STEP_MIB, passes)
    if floor is None:
        hint = f"see why: onejob rehearse {image.folder} --on qemu --memory {MOST_MIB}"
        raise RehearsalError(f"{image.folder} does not even pass with {MOST_MIB} MiB", hint)
    return (judge(MEMORY_FLOOR, floor, [Value(name="trials", value=trials, unit="")]),)


def _passes(image: Image, memory_mib: int) -> bool:
    """A guest that cannot start, or loses its service, did not pass; other errors are errors."""
    try:
        return rehearse(image, "qemu", Quiet(), memory_mib=memory_mib).passed
    except (ServiceError, RehearsalError):
        return False
