"""Peaks of each program: processes, threads and descriptors, under both ways to watch."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from probe_driver import record

pytestmark = [pytest.mark.ebpf, pytest.mark.root]


def test_peaks_of_each_program(tmp_path: Path, backend: str) -> None:
    """Python with three files open starts five sleeps, one of which inherits a descriptor of 40."""
    script = (
        "import os, subprocess, sys, time\n"
        "os.dup2(1, 40)\n"
        "sleeps = [subprocess.Popen(['sleep', '60']) for _ in range(4)]\n"
        "sleeps.append(subprocess.Popen(['sleep', '60'], pass_fds=[40]))\n"
        "os.dup2(1, 77)\n"
        "[sleep.kill() for sleep in sleeps]\n"
        "[sleep.wait() for sleep in sleeps]\n"
    )
    recording = record(tmp_path, Path(sys.executable), "-c", script, backend=backend)
    python, sleep = os.path.realpath(sys.executable), os.path.realpath(str(shutil.which("sleep")))
    processes, threads, descriptors = recording.program_peaks(sleep)
    assert (processes, threads, descriptors) == (5, 5, 41)
    processes, threads, descriptors = recording.program_peaks(python)
    assert processes == threads
    assert 1 <= processes <= 6  # a child is python until it executes sleep
    assert descriptors == 78
