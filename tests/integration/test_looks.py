"""What only /proc knows: memory and scheduling of a service whose every number is known."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onejob.drive.target import Process
from onejob.model.profile import Profile, ProgramPeak, Scheduling
from onejob.model.profile_xml import load_profile
from onejob.profiler.looks import Looks, memory_of
from running import Onejob

MIB_IN_KIB = 1024
FILE_MIB = 7
CPU = max(os.sched_getaffinity(0))
ONLY_ONE = len(os.sched_getaffinity(0)) == 1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled service, beside the file that it maps."""
    folder = tmp_path_factory.mktemp("scheduled")
    source = Path(__file__).with_name("scheduled_service.c")
    words = ["gcc", "-O1", "-Wall", "-Werror", "-pthread", "-o", folder / "service", source]
    subprocess.run(words, check=True, timeout=60)
    (folder / "mapped").write_bytes(bytes(FILE_MIB << 20))
    return folder / "service"


def arguments(program: Path) -> list[str]:
    return [str(program), str(program.with_name("mapped")), str(CPU)]


@contextmanager
def running(words: list[str]) -> Iterator[Process]:
    with subprocess.Popen(words, stdout=subprocess.PIPE) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == b"ready\n"
            yield Process(service.pid, os.getpid(), 0, words[0])
        finally:
            service.kill()


NOT_HERE = 77


@contextmanager
def running_or_skipped(words: list[str]) -> Iterator[Process]:
    """The service, where this machine gives it what it asks for."""
    with subprocess.Popen(words, stdout=subprocess.PIPE) as service:
        try:
            assert service.stdout is not None
            if service.stdout.readline() != b"ready\n":
                assert service.wait(20) == NOT_HERE
                pytest.skip(f"this machine has no {words[1]}")
            yield Process(service.pid, os.getpid(), 0, words[0])
        finally:
            service.kill()


@pytest.fixture
def huge_pages() -> Iterator[None]:
    """Two more pages in the table, which are given back."""
    table = Path("/proc/sys/vm/nr_hugepages")
    before = table.read_text()
    try:
        table.write_text(str(int(before) + 2))
    except OSError:
        pytest.skip("the table of huge pages cannot be changed")
    try:
        yield
    finally:
        table.write_text(before)


def test_huge_pages_by_madvise_are_counted(program: Path) -> None:
    with running_or_skipped([str(program), "huge"]) as process:
        assert memory_of(process).huge_page_kib == 6 * MIB_IN_KIB


@pytest.mark.root
@pytest.mark.usefixtures("huge_pages")
def test_huge_pages_of_the_table_are_counted(program: Path) -> None:
    with running_or_skipped([str(program), "hugetlb"]) as process:
        assert memory_of(process).huge_page_kib == 4 * MIB_IN_KIB


@pytest.mark.root
def test_real_time_policies_have_their_priority_and_processor(program: Path) -> None:
    looks = Looks()
    with running_or_skipped([str(program), "realtime", str(CPU)]) as process:
        looks.look([process])
    place = {"program": str(program), "processors": "" if ONLY_ONE else str(CPU)}
    assert set(looks.looked().added_to(Profile()).scheduling) == {
        Scheduling(policy="fifo", priority=17, **place),
        Scheduling(policy="rr", priority=23, **place),
    }


def expected_scheduling(program: Path) -> set[Scheduling]:
    place = {"program": str(program), "processors": "" if ONLY_ONE else str(CPU)}
    return {
        Scheduling(policy="batch", nice=5, **place),
        Scheduling(policy="idle", nice=5, **place),
        Scheduling(policy="other", nice=7, **place),
    }


def test_mapped_memory_is_exact(program: Path) -> None:
    """The same program with the memory and without: the difference is what it took."""
    with running([str(program)]) as plain, running(arguments(program)) as full:
        before, after = memory_of(plain), memory_of(full)
    stacks_mib = 2
    assert after.anonymous_kib - before.anonymous_kib == (23 + stacks_mib) * MIB_IN_KIB
    assert after.heap_kib - before.heap_kib == 5 * MIB_IN_KIB
    assert after.mapped_file_kib - before.mapped_file_kib == FILE_MIB * MIB_IN_KIB
    assert 0 < before.resident_kib < before.mapped_file_kib + before.anonymous_kib + 8 * MIB_IN_KIB


def test_each_way_of_scheduling_is_seen_once(program: Path) -> None:
    looks = Looks()
    with running(arguments(program)) as process:
        looks.look([process])
        looks.look([process])
    looks.look([process])  # it is gone, which is no error
    found = looks.looked().added_to(Profile())
    assert set(found.scheduling) == expected_scheduling(program)
    assert len(found.scheduling) == 3
    assert [peak.program for peak in found.program_peaks] == [str(program)]
    # And what the kernel has for it: page tables and more.
    assert 0 < found.program_peaks[0].resident_kib <= found.resident_kib
    assert found.resident_kib < found.program_peaks[0].resident_kib + 1024


def test_peaks_are_of_the_largest_process_and_keep_what_the_probe_counted() -> None:
    looks = Looks()
    me = Process(os.getpid(), 0, 0, "/bin/me")
    looks.look([me, me])
    (alone,) = looks.looked().added_to(Profile()).program_peaks
    counted = ProgramPeak(program="/bin/me", processes=23, threads=46, descriptors=7)
    (both,) = looks.looked().added_to(Profile(program_peaks=(counted,))).program_peaks
    assert (both.processes, both.threads, both.descriptors) == (23, 46, 7)
    assert both.resident_kib == alone.resident_kib
    # What both share counts once in their sum.
    assert alone.resident_kib < looks.resident_kib < 2 * memory_of(me).resident_kib


@pytest.mark.root
@pytest.mark.ebpf
def test_the_profile_has_them(program: Path, onejob: Onejob, tmp_path: Path) -> None:
    words = ", ".join(f'"{word}"' for word in arguments(program))
    (tmp_path / "workload.toml").write_text(
        f'name = "scheduled"\ncommand = [{words}]\nready = {{ log = "ready", within = 20 }}\n'
        "stop = { status = 0 }\n"
    )
    output = tmp_path / "p.xml"
    done = onejob("profile", "-w", tmp_path / "workload.toml", "-o", output)
    assert done.returncode == 0, done.stderr
    profile = load_profile(output)
    assert set(profile.scheduling) == expected_scheduling(program)
    (peak,) = profile.program_peaks
    assert peak.program == profile.program == str(program)
    assert 5 * MIB_IN_KIB < peak.heap_kib < 6 * MIB_IN_KIB
    assert 23 * MIB_IN_KIB < peak.anonymous_kib < 26 * MIB_IN_KIB
    assert FILE_MIB * MIB_IN_KIB < peak.mapped_file_kib < (FILE_MIB + 9) * MIB_IN_KIB
    assert profile.resident_kib >= peak.resident_kib
    timers = {"timer_create": (1,), "timerfd_create": (7,), "setitimer": (1,)}
    found = {row.call_name: row.values for row in profile.arguments if row.call_name in timers}
    assert found == timers
