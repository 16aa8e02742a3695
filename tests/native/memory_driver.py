"""Runs programs with the static memory manager preloaded, and reads what it counted."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from onejob.base.natives import native_path
from onejob.builder.memory import LIBRARY, PLAN_VARIABLE, MemoryOptions, memory_plan_text
from onejob.model.absent import AbsentPaths
from onejob.model.observations import MemoryUse
from onejob.model.plan import MemoryArray
from onejob.planner.memory import reserved_blocks
from onejob.system.memory import read_memory_counts

SOURCES = Path(__file__).parent / "memory"
BLOCKS = 23
PAIRS = 100
# (smallest, block size, blocks)
ARRAYS = ((1, 16, 40), (993, 1008, 32), (1985, 2000, 32), (2033, 2048, 32), (4081, 4096, 512))


class Manager:
    """Runs programs with the library preloaded, each after a plan of its own."""

    def __init__(self, folder: Path) -> None:
        self.plan = folder / "memory.plan"
        self.counts = folder / "counts"
        self.counts.mkdir()

    def write_plan(
        self,
        program: Path,
        arrays: Sequence[tuple[int, int, int]] = ARRAYS,
        options: MemoryOptions | None = None,
        absent: Sequence[AbsentPaths] = (),
    ) -> None:
        rows = [
            MemoryArray(
                program=str(program),
                smallest=smallest,
                block_size=size,
                blocks=blocks,
                spare=min(reserved_blocks(size), blocks - 1),
                reason="-",
            )
            for smallest, size, blocks in arrays
        ]
        options = (options or MemoryOptions())._replace(counts=str(self.counts))
        self.plan.write_text(memory_plan_text(rows, options, absent))

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        preload = " ".join([str(native_path(LIBRARY).resolve()), more.pop("LD_PRELOAD", "")])
        environment = {**os.environ, "LD_PRELOAD": preload, PLAN_VARIABLE: str(self.plan)} | more
        return subprocess.run(
            [str(word) for word in command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def check(self, *command: str | Path, **more: str) -> MemoryUse:
        """Run it; all went well, and this is what was counted."""
        done = self.run(*command, **more)
        assert (done.returncode, done.stderr) == (0, "")
        return self.read()

    def read(self) -> MemoryUse:
        counts = read_memory_counts(self.counts / "1.counts")
        assert counts is not None
        return counts


class Given(NamedTuple):
    """Blocks of one array: given, and relayed because there was none."""

    given: int
    relayed: int


def given(counts: MemoryUse, size: int) -> Given:
    (array,) = [array for array in counts.arrays if array.block_size == size]
    return Given(array.given, array.relayed)


def compile_program(folder: Path, source: str, *options: str) -> Path:
    """The program of SOURCES/`source`, in `folder`."""
    program = folder / Path(source).stem
    compiler = "g++" if source.endswith(".cc") else "gcc"
    # -fno-builtin: a malloc and its free must not be optimised away.
    flags = ["-O1", "-fno-builtin", "-Wall", "-Werror", "-pthread", "-Wno-use-after-free"]
    flags += ["-Wno-free-nonheap-object", "-Wno-unused-result", "-Wno-alloc-size-larger-than"]
    command = [compiler, *flags, "-o", program, SOURCES / source, *options]
    subprocess.run(command, check=True, timeout=120)
    return program
