"""What process 1 observes of a service, tells when it is asked, and keeps on the data partition."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from init_container import Container, await_true, put_data_on_disk
from memory_driver import Manager, compile_program

from onejob.model.jsonfile import parse_json
from onejob.model.observations import Observations
from onejob.system.memory import read_unexpected_files

pytestmark = [pytest.mark.root, pytest.mark.runc]

KEPT = "/.onejob/data/.onejob/observations.json"


def observed(container: Container) -> Observations:
    return parse_json(json.dumps(container.ask("observations")), Observations, "observations")


def kept(container: Container) -> Observations:
    return parse_json(container.text_of(KEPT), Observations, "observations")


def test_processes_peaks_and_denials_are_told(container: Container) -> None:
    container.start("denied")
    container.await_text("ready")
    found = observed(container)
    assert found.name == "job"
    assert [(each.program, each.threads, each.phase) for each in found.processes] == [
        ("/job", 1, "")
    ]
    assert found.processes[0].descriptors == 3  # 0 to 2
    assert (found.peaks.processes, found.peaks.threads, found.peaks.sockets) == (1, 1, 0)
    assert 0 < found.processes[0].resident_kib == found.peaks.resident_kib < 100_000
    [denial] = found.denials
    assert (denial.call_name, denial.program, denial.count) == ("ptrace", "/job", 23)
    assert denial.args[:4] == ("0", "1", "2", "3")
    assert [(f.path, f.names, f.entries) for f in found.folders] == [
        ("/run", (), 0), ("/var/log/job", (), 0),
    ]  # fmt: skip


def test_a_peak_stays_when_the_processes_are_gone(container: Container) -> None:
    container.start("orphans")  # 23 processes, for a fifth of a second
    await_true(lambda: observed(container).peaks.processes >= 20, lambda: container.console)
    await_true(lambda: len(observed(container).processes) == 1, lambda: container.console)
    found = observed(container)
    assert 20 <= found.peaks.processes <= 25
    [program] = found.programs
    assert (program.program, program.processes) == ("/job", found.peaks.processes)


def test_the_phase_of_each_process_is_told(rows: Container) -> None:
    rows.start("workers")
    rows.await_text("ready")
    found = observed(rows)
    assert {(each.role, each.phase) for each in found.processes} >= {("main", "serve")}
    assert found.phase == "serve"
    assert {(each.role, each.phase) for each in found.denials} >= {("worker", "serve")}


def test_files_are_told_by_folder(container: Container) -> None:
    folder = container.root / "var/log/job/a/b"
    folder.mkdir(parents=True)
    for number in range(100):
        (folder / f"file{number}").touch()
    (folder / "link").symlink_to("/proc")
    container.start()
    container.event("started")
    [inner] = [each for each in observed(container).folders if each.path == "/var/log/job/a/b"]
    assert (inner.entries, len(inner.names)) == (101, 32)
    assert not observed(container).folders_cut


def test_a_service_that_makes_many_files_does_not_keep_process_1_busy(container: Container) -> None:
    container.environment[1] = "ONEJOB_DATA=tmpfs:65536"
    for number in range(6000):
        (container.root / f"var/log/job/{number}").touch()
    container.start()
    container.event("started")
    found = observed(container)
    assert found.folders_cut
    assert [each.entries for each in found.folders if each.path == "/var/log/job"] == [4096]


def test_they_are_kept_while_it_runs_and_when_it_has_ended(container: Container) -> None:
    data = put_data_on_disk(container)
    container.start("denied")
    path = data / ".onejob/observations.json"
    await_true(path.exists, lambda: container.console)
    assert kept(container).denied == 23
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    container.ask("stop")
    assert container.status() == 0
    last = parse_json(path.read_text(), Observations, "observations")
    assert (last.denied, last.processes, last.peaks.processes) == (23, (), 1)


@pytest.mark.parametrize("planted", ["link", "file", "loop"])
def test_what_lies_in_their_place_is_not_followed(container: Container, planted: str) -> None:
    """A service that is root has put something else where process 1 writes."""
    data = put_data_on_disk(container)
    outside = container.folder / "outside"
    outside.mkdir()
    place = data / ".onejob"
    if planted == "file":
        place.write_text("x")
    else:
        place.symlink_to(outside if planted == "link" else ".onejob")
    container.start()
    container.await_text("nothing is kept of what is observed: cannot open /.onejob/data/.onejob")
    assert observed(container).peaks.processes == 1
    assert list(outside.iterdir()) == []


def test_links_and_rubbish_inside_are_replaced(container: Container) -> None:
    data = put_data_on_disk(container)
    (data / ".onejob").mkdir()
    victim = container.folder / "victim"
    victim.write_text("untouched")
    (data / ".onejob/observations.json").symlink_to(victim)
    (data / ".onejob/observations.json.new").symlink_to(victim)
    container.start()
    await_true(
        lambda: not (data / ".onejob/observations.json").is_symlink(), lambda: container.console
    )
    assert kept(container).name == "job"
    assert victim.read_text() == "untouched"
    assert sorted(path.name for path in (data / ".onejob").iterdir()) == [
        "log", "observations.json",
    ]  # fmt: skip


def test_a_full_disk_is_said_once_and_harms_nothing(container: Container) -> None:
    container.environment[1] = "ONEJOB_DATA=tmpfs:64"
    container.start("fill")
    container.await_text("cannot keep observations.json on the data partition: No space left")
    assert observed(container).peaks.processes == 1
    container.ask("stop")
    assert container.status() == 0
    assert container.console.count("cannot keep observations.json") == 1


def test_counts_of_memory_are_read_as_python_reads_them(
    container: Container, tmp_path: Path
) -> None:
    """Those of a program that ran under the memory manager, found where an instance has them."""
    manager = Manager(tmp_path)
    program = compile_program(tmp_path, "workload.c")
    manager.write_plan(program, ((1, 16, 4), (4081, 4096, 2)))
    counts = manager.check(program, "unexpected")
    assert counts.dynamic > 0
    put_counts(container, (manager.counts / "1.counts").read_bytes())
    container.start()
    container.event("started")
    [found] = observed(container).memory
    assert found.program == counts.program
    assert (found.arrays, found.by_size) == (counts.arrays, counts.by_size)
    assert (found.static, found.dynamic) == (counts.static, counts.dynamic)


def test_paths_that_were_asked_for_in_vain_are_told(container: Container, tmp_path: Path) -> None:
    """23 of them, as Python reads them from the file of counts."""
    manager = Manager(tmp_path)
    program = compile_program(tmp_path, "paths.c")
    manager.write_plan(program)
    manager.check(program, "each", "/nowhere")
    known, others = read_unexpected_files(manager.counts / "1.counts")
    put_counts(container, (manager.counts / "1.counts").read_bytes())
    container.start()
    container.event("started")
    found = observed(container)
    assert len(found.unexpected_files) == 23
    assert tuple(sorted(found.unexpected_files, key=lambda each: each.path)) == known
    assert found.unexpected_files_unlisted == others == 0


@pytest.mark.parametrize("rubbish", ["random", "ones", "short", "empty", "link", "pipe"])
def test_rubbish_in_the_place_of_counts_is_borne(container: Container, rubbish: str) -> None:
    """Processes of the service may write anything there; it is told as no, or as odd, numbers."""
    size = 180_224
    head = b"OJMEMORY" + (2).to_bytes(4, "little")
    content = {
        "random": head + random.Random(23).randbytes(size - len(head)),
        "ones": head + b"\xff" * (size - len(head)), "short": head, "empty": b"",
    }  # fmt: skip
    path = put_counts(container, content.get(rubbish, b""))
    if rubbish in ("link", "pipe"):
        path.unlink()
        path.symlink_to("/proc/kmsg") if rubbish == "link" else os.mkfifo(path)
    container.environment[1] = "ONEJOB_DATA=tmpfs:4096"
    container.start()
    container.event("started")
    found = observed(container)
    assert len(found.memory) == (1 if rubbish in ("random", "ones") else 0)
    assert found.peaks.processes == 1


def put_counts(container: Container, content: bytes) -> Path:
    """In the root, from which /run is seeded."""
    folder = container.root / "run/onejob/memory"
    folder.mkdir(parents=True)
    (folder / "1.counts").write_bytes(content)
    return folder / "1.counts"
