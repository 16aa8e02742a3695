"""Peaks of each program: processes, threads and descriptors, under both ways to watch."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from probe_driver import record

pytestmark = [pytest.mark.ebpf, pytest.mark.root]


def test_peaks_of_each_program(tmp_path: Path, backend: str) -> None:
    """Python with three files open starts five cats, one of which inherits a descriptor of 40."""
    script = (
        "import os, subprocess, sys\n"
        "def cat(**more):\n"
        "    started = subprocess.Popen(['cat'], stdin=-1, stdout=-1, bufsize=0, **more)\n"
        "    started.stdin.write(b'x')\n"
        "    started.stdout.read(1)  # only now it is cat for certain\n"
        "    return started\n"
        "os.dup2(1, 40)\n"
        "cats = [cat() for _ in range(4)]\n"
        "cats.append(cat(pass_fds=[40]))\n"
        "os.dup2(1, 77)\n"
        "[each.kill() for each in cats]\n"
        "[each.wait() for each in cats]\n"
    )
    recording = record(tmp_path, Path(sys.executable), "-c", script, backend=backend)
    python, cat = os.path.realpath(sys.executable), os.path.realpath(str(shutil.which("cat")))
    processes, threads, descriptors = recording.program_peaks(cat)
    assert (processes, threads, descriptors) == (5, 5, 41)
    processes, threads, descriptors = recording.program_peaks(python)
    assert processes == threads
    assert 1 <= processes <= 6  # a child is python until it executes cat
    assert descriptors == 78
