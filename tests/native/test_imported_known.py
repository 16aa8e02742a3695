"""The known workload under strace and under the probe: both logs say the same."""

import errno
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from probe_driver import compile_known, record

from onejob.model.profile import Profile
from onejob.profiler.assemble import assemble
from onejob.profiler.imports.importing import import_profile
from onejob.profiler.recording import read_recording
from onejob.profiler.subject import Subject

pytestmark = [pytest.mark.ebpf, pytest.mark.root]

MODES = ["counts", "crowd", "places", "thread-exec", "sockets", "threads"]
# How threads meet is up to the scheduler.
UNSTEADY = {
    "futex",
    "sched_yield",
    "rt_sigprocmask",
    "madvise",
    "munmap",
    "mmap",
    "mprotect",
    "brk",
}


class Both:
    """One profile from the probe, one from strace."""

    def __init__(self, folder: Path, known: Path, mode: str) -> None:
        self.mode = mode
        word = {"crowd": "40", "counts": str(folder / "files"), "places": str(folder / "files")}
        words = [mode, *([word[mode]] if mode in word else [])]
        self.program = str(known)
        self._clean(folder)
        record(folder, known, *words)
        subject = Subject(name="known", program=self.program)
        self.probe = assemble(subject, read_recording(folder / "recording.json"), ())
        self._clean(folder)
        log = folder / "strace.log"
        command = ["strace", "-f", "-o", str(log), str(known), *words]
        subprocess.run(command, check=True, timeout=60, cwd=folder)
        self.strace = import_profile([log])

    @staticmethod
    def _clean(folder: Path) -> None:
        shutil.rmtree(folder / "files", ignore_errors=True)
        (folder / "files").mkdir()


@pytest.fixture(scope="module", params=MODES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    folder = tmp_path_factory.mktemp("known")
    return Both(folder, compile_known(folder), request.param)


def calls(profile: Profile, mode: str) -> dict[tuple[str, str], tuple[int, int, tuple[int, ...]]]:
    unsteady = UNSTEADY if mode in ("threads", "thread-exec") else set()
    found = {}
    for use in profile.calls:
        # A tracer's stops interrupt calls that wait, which are then made again.
        again = use.failed if use.errors == (errno.EINTR,) else 0
        if use.call_name not in unsteady:
            row = (use.count - again, use.failed - again, () if again else use.errors)
            found[use.program, use.call_name] = row
    return found


def test_every_call_by_program_count_and_error(both: Both) -> None:
    assert calls(both.strace, both.mode) == calls(both.probe, both.mode)


def test_every_use_of_every_file(both: Both) -> None:
    def uses(profile: Profile) -> Counter[tuple[str, str, str]]:
        found: Counter[tuple[str, str, str]] = Counter()
        for file in profile.files:
            for use in file.uses:
                found[file.path, use.program, use.how] += use.count
        return found

    assert uses(both.strace) == uses(both.probe)


def test_every_argument_that_policy_needs(both: Both) -> None:
    def arguments(profile: Profile) -> dict[tuple[str, tuple[int, ...]], int]:
        found: Counter[tuple[str, tuple[int, ...]]] = Counter()
        for row in profile.arguments:
            if row.call_name not in UNSTEADY:
                found[row.call_name, row.values] += row.count
        return dict(found)

    assert arguments(both.strace) == arguments(both.probe)


def test_starts_and_peaks(both: Both) -> None:
    def starts(profile: Profile) -> set[tuple[str, str, str, int]]:
        return {(row.program, row.child, row.how, row.count) for row in profile.starts}

    assert starts(both.strace) == starts(both.probe)
    if both.mode != "crowd":  # there it is up to the scheduler
        ours, theirs = both.strace, both.probe
        assert ours.number_of_processes == theirs.number_of_processes
        assert ours.number_of_threads == theirs.number_of_threads
        assert ours.number_of_sockets == theirs.number_of_sockets
        assert ours.number_of_pipes == theirs.number_of_pipes
        assert ours.number_of_descriptors == theirs.number_of_descriptors


def test_nothing_of_the_log_is_lost(both: Both) -> None:
    assert both.strace.events_lost == 0
    assert both.strace.provenance is not None
    assert both.strace.provenance.backend == "import"
