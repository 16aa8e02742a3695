"""What process 1 observes of a service, tells when it is asked, and keeps on the data partition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from init_container import Container, await_true

from onejob.model.jsonfile import parse_json
from onejob.model.observations import Observations

pytestmark = [pytest.mark.root, pytest.mark.runc]

KEPT = "/.onejob/data/.onejob/observations.json"


def observed(container: Container) -> Observations:
    return parse_json(json.dumps(container.ask("observations")), Observations, "observations")


def kept(container: Container) -> Observations:
    return parse_json(container.text_of(KEPT), Observations, "observations")


def put_data_on_disk(container: Container) -> Path:
    """Data in a folder of the host's, as onejob run --on host has it."""
    data = container.folder / "data"
    data.mkdir()
    container.environment[1] = "ONEJOB_DATA=dir"
    container.mounts.append(
        {"destination": "/.onejob/data", "type": "bind", "source": str(data), "options": ["bind"]}
    )
    return data


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
    assert [path.name for path in (data / ".onejob").iterdir()] == ["observations.json"]


def test_a_full_disk_is_said_once_and_harms_nothing(container: Container) -> None:
    container.environment[1] = "ONEJOB_DATA=tmpfs:64"
    container.start("fill")
    container.await_text("cannot keep observations.json on the data partition: No space left")
    assert observed(container).peaks.processes == 1
    container.ask("stop")
    assert container.status() == 0
    assert container.console.count("cannot keep observations.json") == 1
