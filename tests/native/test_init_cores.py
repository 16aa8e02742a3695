"""Core files that process 1 keeps of processes that fail: which, how many, how large, for whom."""

from __future__ import annotations

import json
import re
import stat
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment
from init_container import Container, put_data_on_disk

from onejob.model.jsonfile import parse_json
from onejob.model.observations import Observations
from onejob.system.cores import take_core

pytestmark = [pytest.mark.root, pytest.mark.runc]

WORDS = b"the memory of the failed one"
LARGE_KIB = 1 << 20


@pytest.fixture
def data(rows: Container) -> Path:
    """Of a service that may have three core files."""
    rows.plan["core_files"] = (3, LARGE_KIB)
    return put_data_on_disk(rows)


def kept(data: Path) -> list[str]:
    return sorted(path.name for path in (data / ".onejob").glob("core*"))


def test_a_core_file_has_memory_threads_files_and_the_signal(rows: Container, data: Path) -> None:
    rows.plan |= {"user": 33, "group": 33}
    rows.start("fail")
    assert rows.status() != 0
    assert re.search(
        r"/job \(process \d+\) ends by signal 11: core.1 has its memory, \d+ KiB$",
        rows.console,
        re.M,
    )
    assert kept(data) == ["core.1"]
    found = (data / ".onejob/core.1").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, 0)
    with (data / ".onejob/core.1").open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_type"] == "ET_CORE"
        notes = [
            n for s in elf.iter_segments() if isinstance(s, NoteSegment) for n in s.iter_notes()
        ]
        statuses = [n["n_descdata"] for n in notes if n["n_type"] == "NT_PRSTATUS"]
        assert len(statuses) == 2
        assert len(statuses[0]) == 336
        assert struct.unpack_from("<i", statuses[0])[0] == 11
        [files] = [n["n_desc"] for n in notes if n["n_type"] == "NT_FILE"]
        assert b"/job" in files["filename"]
        memory = b"".join(s.data() for s in elf.iter_segments() if s["p_type"] == "PT_LOAD")
        assert WORDS in memory
        [address] = [n["n_descdata"] for n in notes if n["n_type"] in ("NT_SIGINFO", 0x53494749)]
        assert struct.unpack_from("<Q", address, 16)[0] == 16  # si_addr
    text = (data / ".onejob/observations.json").read_text()
    [told] = parse_json(text, Observations, "observations").cores
    assert (told.file, told.program, told.signal, told.threads) == ("core.1", "/job", 11, 2)
    assert told.whole


def test_workers_too_and_no_more_than_the_plan_has(rows: Container, data: Path) -> None:
    rows.start("failures", "5")
    rows.await_text("ready")
    assert rows.console.count("child ended by 11") == 5
    assert kept(data) == ["core.1", "core.2", "core.3"]
    assert rows.console.count("no core file, as 3 are there") == 1
    told = parse_json(json.dumps(rows.ask("observations")), Observations, "observations")
    assert [each.file for each in told.cores] == kept(data)


def test_none_of_a_signal_that_is_caught(rows: Container, data: Path) -> None:
    rows.start("caught")
    rows.await_text("ready")
    assert "hups 1" in rows.console
    assert kept(data) == []


def test_none_without_a_word_in_the_plan(rows: Container, data: Path) -> None:
    del rows.plan["core_files"]
    rows.start("failures", "1")
    rows.await_text("ready")
    assert kept(data) == []


def test_one_that_is_too_large_is_cut_and_says_so(rows: Container, data: Path) -> None:
    rows.plan["core_files"] = (1, 16)
    rows.start("fail")
    rows.status()
    assert "16 KiB, cut to the plan's size" in rows.console
    assert (data / ".onejob/core.1").stat().st_blocks * 512 <= 64 * 1024  # with its notes


def test_it_is_taken_out_of_the_data_as_it_is(rows: Container, data: Path, tmp_path: Path) -> None:
    rows.start("fail")
    rows.status()
    core = data / ".onejob/core.1"
    assert take_core(data, 1, tmp_path / "out") == core.stat().st_size
    assert (tmp_path / "out").read_bytes() == core.read_bytes()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600
