"""Benchmark ``path-cost``: what noting unexpected files adds to a call that asks for a path.

A program that does nothing else runs in turns without and with the memory manager preloaded, for a
file that is there, one that the plan knows to be absent, and one that is unexpected. It allocates
nothing meanwhile, is pinned, and measures its own processor time.
"""

import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from onejob.base.natives import native_path
from onejob.base.progress import Progress
from onejob.bench.arithmetic import take_turns
from onejob.bench.malloc_cost import pinned
from onejob.bench.promises import PATH_COST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.builder.memory import LIBRARY, PLAN_VARIABLE, MemoryOptions, memory_plan_text
from onejob.model.absent import AbsentPaths
from onejob.model.errors import OnejobError
from onejob.model.plan import MemoryArray
from onejob.system.memory import read_unexpected_files

ROUNDS = 15
CALLS = 200_000
FUNCTIONS = ("open", "stat")
THERE, ABSENT, UNEXPECTED = "there", "absent", "unexpected"
OTHERS = 850  # absent paths of the plan besides, as many as postgresql has
_MEMORY = "/dev/shm"  # where images have their counts, too: in memory
_PROGRAM = "onejob-malloc-load"
_TIMEOUT_S = 60


class Case(NamedTuple):
    """One function for one kind of path."""

    function: str
    kind: str

    def __str__(self) -> str:
        return f"{self.function} {self.kind}"


class Call(NamedTuple):
    """Nanoseconds of a call, as measured one after the other."""

    plain: float
    watched: float


def measure_path_cost(_subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """The median of what is added to a call that finds its file, in the worst case."""
    progress.stage("path-cost")
    with tempfile.TemporaryDirectory(prefix="onejob-", dir=_MEMORY) as folder, pinned():
        return (judge_added(measure_cases(Path(folder), CALLS, ROUNDS, progress)),)


def measure_cases(
    folder: Path, calls: int, rounds: int, progress: Progress
) -> dict[Case, list[Call]]:
    """All cases in turns. OnejobError where not exactly the unexpected paths were noted."""
    settings = _prepare(folder)
    found: defaultdict[Case, list[Call]] = defaultdict(list)
    cases = {str(case): case for case in (Case(f, k) for f in FUNCTIONS for k in _KINDS)}
    turns = take_turns(list(cases), rounds)
    for number, name in enumerate(turns):
        progress.step(name, number / len(turns))
        case = cases[name]
        words = ["ask", case.function, str(folder / case.kind), str(calls)]
        found[case].append(Call(_run(words, {}), _run(words, settings)))
    _need_noted(folder, rounds, calls)
    return dict(found)


_KINDS = (THERE, ABSENT, UNEXPECTED)


def judge_added(found: Mapping[Case, Sequence[Call]]) -> Result:
    """The worst of the medians for what is there, with all cases, and what each takes unwatched."""
    added = {
        case: statistics.median(call.watched - call.plain for call in calls)
        for case, calls in found.items()
    }
    values = [Value(name=str(case), value=value, unit="ns") for case, value in added.items()]
    values += [
        Value(name=f"{case} unwatched", value=statistics.median(c.plain for c in calls), unit="ns")
        for case, calls in found.items()
    ]
    worst = max(value for case, value in added.items() if case.kind == THERE)
    return judge(PATH_COST, worst, values)


def _prepare(folder: Path) -> dict[str, str]:
    """The files, and the environment with the memory manager and its plan."""
    (folder / THERE).touch()
    program = str(native_path(_PROGRAM).resolve())
    array = MemoryArray(
        program=program, block_size=64, smallest=1, blocks=64, spare=8, reason="to be measured"
    )
    paths = (str(folder / ABSENT), *(f"/absent/{number}" for number in range(OTHERS)))
    absent = AbsentPaths(program=program, paths=paths, reason="to be measured")
    plan = folder / "plan"
    plan.write_text(memory_plan_text([array], MemoryOptions(counts=str(folder)), [absent]))
    return {"LD_PRELOAD": str(native_path(LIBRARY).resolve()), PLAN_VARIABLE: str(plan)}


def _run(words: Sequence[str], settings: Mapping[str, str]) -> float:
    done = subprocess.run(
        [native_path(_PROGRAM).resolve(), *words],
        env=settings,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode or done.stderr:
        raise OnejobError(f"{words}: the program failed: {done.stderr.strip() or done.returncode}")
    return float(done.stdout)


def _need_noted(folder: Path, rounds: int, calls: int) -> None:
    found, others = read_unexpected_files(folder / "1.counts")
    counted = {each.path: each.count for each in found}
    # Each run asks once more, before it measures.
    wanted = {str(folder / UNEXPECTED): len(FUNCTIONS) * rounds * (calls + 1)}
    if counted != wanted or others:
        raise OnejobError(f"noted were {counted} and {others} others, of {wanted}")
