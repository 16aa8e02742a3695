"""The eBPF observer's counters stay exact when they are more than it remembers or has room for."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from probe_driver import Recording, record

pytestmark = [pytest.mark.ebpf, pytest.mark.root]

TIMES = 23
REMEMBERED = 64  # paths, on each processor: struct memo of tallies.h
TALLIES = 8192  # counters that each processor has its own copy of: shared.h

STAT_ALL = """
import os, sys
folder, files, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(times):
    for number in range(files):
        try:
            os.stat(f"{folder}/{number}")
        except FileNotFoundError:
            pass
"""

# Each file in three parts, one after another over all files, then its start again.
READ_ALL = """
import os, sys
folder, files = sys.argv[1], int(sys.argv[2])
descriptors = [os.open(f"{folder}/{number}", os.O_RDONLY) for number in range(files)]
for _ in range(3):
    for descriptor in descriptors:
        os.read(descriptor, 10)
for descriptor in descriptors:
    os.pread(descriptor, 10, 0)
"""

SAME_NAME_OTHER_FILE = """
import os, sys
folder, times = sys.argv[1], int(sys.argv[2])
for number in range(times):
    descriptor = os.open(f"{folder}/{number % 2}", os.O_RDONLY)
    os.dup2(descriptor, 100)
    os.close(descriptor)
    os.read(100, 1 + number % 2)
"""


def run(folder: Path, script: str, *words: object) -> Recording:
    return record(folder, sys.executable, "-I", "-S", "-c", script, *map(str, words))


def count_missing(recording: Recording, folder: Path) -> Counter[int]:
    """How many files of `folder` were looked for how often, and found missing each time."""
    found = Counter(recording.files("newfstatat", error=2))
    return Counter(times for path, times in found.items() if path.startswith(f"{folder}/"))


def test_more_paths_than_are_remembered(tmp_path: Path) -> None:
    recording = run(tmp_path, STAT_ALL, tmp_path / "absent", 5 * REMEMBERED, TIMES)
    assert count_missing(recording, tmp_path / "absent") == {TIMES: 5 * REMEMBERED}
    assert recording.errors("newfstatat")[2] >= 5 * REMEMBERED * TIMES


def test_more_counters_than_each_processor_has(tmp_path: Path) -> None:
    """The surplus is shared by all processors, and counts as well."""
    recording = run(tmp_path, STAT_ALL, tmp_path / "absent", TALLIES + TIMES, 2)
    assert count_missing(recording, tmp_path / "absent") == {2: TALLIES + TIMES}


def test_positions_of_many_open_files(tmp_path: Path) -> None:
    """Some of them share an element of the array of positions."""
    files = 900
    for number in range(files):
        (tmp_path / str(number)).write_bytes(bytes(40))
    recording = run(tmp_path, READ_ALL, tmp_path, files)
    names = {str(tmp_path / str(number)) for number in range(files)}
    for name, expected in (("read", (3, 30, 0)), ("pread64", (1, 10, 1))):
        rows = [row for row in recording.rows("traffic", name) if row["object"] in names]
        assert len(rows) == files
        assert {(row["count"], row["bytes"], row["jumps"]) for row in rows} == {expected}


def test_a_descriptor_that_becomes_another_file(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).write_bytes(bytes(40))
    recording = run(tmp_path, SAME_NAME_OTHER_FILE, tmp_path, 2 * TIMES)
    rows = {row["object"]: row for row in recording.rows("traffic", "read")}
    found = [rows[str(tmp_path / name)] for name in ("0", "1")]
    assert [(row["count"], row["bytes"], row["jumps"]) for row in found] == [
        (TIMES, TIMES, 0),
        (TIMES, 2 * TIMES, 0),
    ]
