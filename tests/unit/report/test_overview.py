"""A profile at a glance: the tables say what the profile says, sums and all."""

from onejob.model.call_purposes import UNKNOWN, purpose_of, purposes
from onejob.model.profile import (
    CallUse,
    CapabilityUse,
    Listener,
    Profile,
    ProgramAllocation,
    ProgramPeak,
    Provenance,
    Relationship,
    Scheduling,
    Start,
    Traffic,
    UnrecordedMemory,
)
from onejob.model.syscalls import known_calls
from onejob.report.overview import notes, overview

PROGRAM = "/usr/sbin/service"
PLACE = {"program": PROGRAM, "drill": "serve"}


def table(profile: Profile, title: str) -> tuple[tuple[str, ...], ...]:
    return next(table.rows for table in overview(profile) if title in table.title)


def test_every_call_has_one_purpose() -> None:
    assert {purpose_of(name) for name in known_calls()} == set(purposes())
    assert purpose_of("call_999") == UNKNOWN


def test_an_empty_profile_has_no_tables() -> None:
    assert overview(Profile()) == ()
    assert notes(Profile()) == ()


def test_calls_are_added_by_purpose_the_most_frequent_first() -> None:
    calls = tuple(
        CallUse(call_name=name, phase="serve", count=count, **PLACE)
        for name, count in (("read", 2), ("write", 23), ("read", 1), ("call_999", 5))
    )
    relationships = (
        Relationship(
            library="/libc.so.6", call_name="read", count=3, components=("ext4",), **PLACE
        ),
    )
    assert table(
        Profile(name="x", calls=calls, relationships=relationships), "calls the kernel"
    ) == (
        ("read and write", "26", "write, read", "ext4", "service"),
        (UNKNOWN, "5", "call_999", "", "service"),
    )


def test_traffic_is_read_and_written_by_object() -> None:
    rows = (("write", 4, 400), ("writev", 1, 100), ("read", 2, 30), ("fsync", 23, 0))
    traffic = tuple(
        Traffic(
            call_name=name, object="/var/log/x", component="ext4", count=count, bytes=size, **PLACE
        )
        for name, count, size in rows
    )
    assert table(Profile(traffic=traffic), "where its data goes") == (
        ("/var/log/x", "ext4", "30 bytes in 2", "500 bytes in 5", "23", ""),
    )


def test_a_listener_is_one_row_whatever_the_drill() -> None:
    place = {"program": PROGRAM, "family": "inet", "kind": "stream", "address": "::"}
    listeners = tuple(
        Listener(drill=drill, port=80, backlog=511, queue_peak=peak, accepted=accepted, **place)
        for drill, peak, accepted in (("start", 1, 3), ("serve", 7, 23))
    )
    assert table(Profile(listeners=listeners), "listens") == (
        ("inet/stream", ":: 80", "511", "7", "26"),
    )


def test_rights_programs_and_memory() -> None:
    profile = Profile(
        capabilities=(CapabilityUse(name="CAP_CHOWN", count=23, refused=1, **PLACE),),
        program_peaks=(ProgramPeak(program=PROGRAM, processes=3, threads=4, descriptors=5),),
        starts=(Start(child=PROGRAM, how="fork", count=2, **PLACE),),
        allocations=(
            ProgramAllocation(program=PROGRAM, block_size=8, peak=1, allocated=23, freed=22),
            ProgramAllocation(program=PROGRAM, block_size=99, peak=1, allocated=1, freed=0),
        ),
    )
    assert table(profile, "its rights") == (("CAP_CHOWN", PROGRAM, "23", "1"),)
    assert table(profile, "at their peak") == ((PROGRAM, "3", "4", "5", "", "2 by fork"),)
    assert [row[1] for row in table(profile, "memory blocks")] == ["99", "8"]


def test_mapped_memory_and_scheduling() -> None:
    peak = ProgramPeak(
        program=PROGRAM, resident_kib=99, heap_kib=5, anonymous_kib=23, mapped_file_kib=7
    )
    unseen = ProgramPeak(program="/bin/unseen", processes=1)
    rows = (
        Scheduling(program=PROGRAM, policy="batch", nice=5, processors="1"),
        Scheduling(program=PROGRAM, policy="other"),
    )
    profile = Profile(program_peaks=(peak, unseen), scheduling=rows)
    assert table(profile, "mapped memory") == ((PROGRAM, "5", "23", "7", "0"),)
    assert table(profile, "scheduled") == (
        (PROGRAM, "batch", "0", "5", "1"), (PROGRAM, "other", "0", "0", "all"),
    )  # fmt: skip


def test_notes_name_what_is_missing() -> None:
    provenance = Provenance(
        onejob="1", machine="x86_64", kernel="6", libc="", distribution="", backend="import",
        partial="no counts",
    )  # fmt: skip
    memory = (UnrecordedMemory(program=PROGRAM, reason="statically linked"),)
    found = notes(Profile(provenance=provenance, events_lost=1, unrecorded_memory=memory))
    assert [note.split()[0] for note in found] == ["partial:", "1", "the"]
    assert PROGRAM in found[2]
