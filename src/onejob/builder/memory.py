"""The plan file of the static memory manager, as its library reads it (see docs/memory.md)."""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from onejob.model.absent import AbsentPaths, path_key
from onejob.model.errors import BuildError
from onejob.model.plan import MemoryArray, Plan

LIBRARY = "libonejob_memory.so"
PLAN_VARIABLE = "ONEJOB_MEMORY_PLAN"
"""Names the plan file to the library; without it, it looks at PLAN_PATH."""
PLAN_PATH = "/etc/onejob/memory.plan"
MOST_BYTES = 256 * 1024
KERNEL_FROM = 256 * 1024 + 1
"""Blocks of so many bytes and more come from the kernel: no array has such."""
MOST_DELAY = 256
MOST_ABSENT = 6000
"""Of all programs; those that are more stand in the observations, and are told from news there."""
COUNTS_BYTES = 180_224
"""Of a program's file of counts (native/memory/src/counts.rs)."""


class MemoryOptions(NamedTuple):
    """What holds for all programs.

    `counts` is the folder of the files of statistics, "" for none; `unsafe_free` lets wrong frees
    pass; `delay` freed blocks of each thread wait until they are used again.
    """

    counts: str = ""
    unsafe_free: bool = False
    huge_pages: bool = False
    delay: int = 0


def memory_plan_text(
    arrays: Iterable[MemoryArray], options: MemoryOptions, absent: Iterable[AbsentPaths] = ()
) -> str:
    """The plan file for `arrays`, by program and ascending size as in a Plan, and `absent` paths.

    BuildError for what the library would refuse.
    """
    if not 0 <= options.delay <= MOST_DELAY:
        raise BuildError(
            f"a delay of {options.delay} blocks is not possible", f"choose 0 to {MOST_DELAY}"
        )
    lines = ["onejob-memory 1"]
    if options.counts:
        lines.append(f"counts {_path(options.counts)}")
    lines += [
        f"kernel-from {KERNEL_FROM}",
        f"unsafe-free {_word(options.unsafe_free)}",
        f"huge-pages {_word(options.huge_pages)}",
        f"delay {options.delay}",
    ]
    keys, left = {row.program: row.paths for row in absent}, MOST_ABSENT
    for program, rows in groupby(arrays, key=lambda row: row.program):
        lines.append(f"program {_path(program)}")
        lines += [f"array {row.smallest} {row.block_size} {row.blocks} {row.spare}" for row in rows]
        paths = keys.get(program, ())[:left]
        lines += [f"absent {key:016x}" for key in sorted({path_key(path) for path in paths})]
        left -= len(paths)
    text = "\n".join([*lines, "end", ""])
    if len(text.encode()) > MOST_BYTES:
        raise BuildError(
            f"the memory plan is {len(text)} bytes long, of at most {MOST_BYTES}",
            "profile fewer programs in one service",
        )
    return text


def manager_text(plan: Plan) -> str:
    """The plan file in the image of `plan`; empty where no memory manager is preloaded."""
    manager = plan.memory_manager
    if manager.kind == "none":
        return ""
    options = MemoryOptions(counts=manager.counts, unsafe_free=manager.unsafe_free)
    return memory_plan_text(plan.memory, options, plan.absent)


def counted_programs(plan: Plan) -> int:
    """How many files of counts there are: one for each program with arrays."""
    manager = plan.memory_manager
    return len({array.program for array in plan.memory}) if manager.kind == "static" else 0


def _word(yes: bool) -> str:
    return "yes" if yes else "no"


def _path(path: str) -> str:
    if not path.startswith("/") or "\n" in path or "\0" in path or len(path.encode()) > 4000:
        raise BuildError(
            f"the path {path!r} cannot be in a memory plan", "use an absolute path on one line"
        )
    return path
