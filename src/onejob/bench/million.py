"""Benchmark ``million``: what it takes to write and read a profile of a million distinct facts."""

import json
import subprocess
import sys
import tempfile

from onejob.base.progress import Progress
from onejob.bench.promises import MILLION_CPU, MILLION_MEMORY
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject

_LIMIT_S = 900


def measure_million(_subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """In a process of its own, whose peak of memory is of nothing else."""
    progress.stage("a profile of a million facts, written and read")
    with tempfile.TemporaryDirectory(prefix="onejob-million-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "onejob.bench.million_run", folder],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, timeout=_LIMIT_S,
        )  # fmt: skip
    seen = json.loads(done.stdout)
    values = (
        Value(name="facts", value=seen["facts"], unit=""),
        Value(name="to make and pack them", value=seen["pack_s"], unit="s"),
        Value(name="to write", value=seen["write_s"], unit="s"),
        Value(name="to read", value=seen["read_s"], unit="s"),
        Value(name="to go through all of them as objects", value=seen["visit_s"], unit="s"),
        Value(name="file", value=seen["file_bytes"] / 1e6, unit="MB"),
    )
    return (
        judge(MILLION_CPU, seen["write_s"] + seen["read_s"], values),
        judge(MILLION_MEMORY, seen["peak_bytes"] / 1e6),
    )
