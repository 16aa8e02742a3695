"""In which facts an instance is not as its profile says, and by how much."""

import re

import pytest

from onejob.model.drift import Drifted, find_drift
from onejob.model.errors import InputError
from onejob.model.observations import (
    ArrayUse,
    Folder,
    MemoryUse,
    Observations,
    Peaks,
    ProgramHeld,
    UnexpectedSize,
)
from onejob.model.profile import Argument, CallUse, FileUse, Profile, ProgramPeak, Use
from onejob.model.profile_merge import Labelled, merge_profiles
from onejob.model.profile_observed import ARGUMENT_FACTS, profile_observed
from onejob.model.syscalls import call_name
from running import ROOT
from some_observations import WEB, denied, held, observations


def profile(**changes: object) -> Profile:
    """One that the observations of some_observations fit, but for what was denied."""
    log = Use(program=WEB, drill="serve", how="created", count=1)
    fields: dict[str, object] = {
        "name": "web", "program": WEB, "number_of_processes": 2, "number_of_threads": 2,
        "number_of_descriptors": 12, "number_of_sockets": 5,
        "calls": (CallUse(program=WEB, call_name="read", phase="serve", drill="serve", count=9),),
        "program_peaks": (ProgramPeak(program=WEB, **held()),),
        "files": (FileUse(path="/var/log/web/access.log", kind="file", uses=(log,)),),
    }  # fmt: skip
    return Profile.model_validate(fields | changes)


def quiet(**changes: object) -> Observations:
    return observations(**{"denials": (), **changes})


def memory(**changes: object) -> MemoryUse:
    fields: dict[str, object] = {
        "program": WEB, "unexpected": (), "other_sizes": 0, "large": 0, "faults": 0, "uncounted": 0,
        "arrays": (ArrayUse(block_size=64, blocks=100, given=10_000, relayed=0, most_taken=90),),
    }  # fmt: skip
    return MemoryUse.model_validate(fields | changes)


def test_what_is_as_profiled_is_no_drift() -> None:
    assert find_drift(profile(), quiet(memory=(memory(),))) == ()


def test_a_denied_call_is_drift() -> None:
    [found] = find_drift(profile(), observations())
    assert (found.kind, found.observed, found.by, found.matters) == ("call", 3, "+3", True)
    assert found.what == f"{WEB} (worker, serve) called ptrace, which it never did when profiled"


def test_a_program_that_nobody_knows_is_drift() -> None:
    shell = ProgramHeld(program="/bin/sh", **held())
    [found] = find_drift(profile(), quiet(programs=(shell,)))
    assert (found.kind, found.object) == ("program", "/bin/sh")


@pytest.mark.parametrize(
    ("sockets", "by", "matters"), [(5, "", False), (6, "1.20x", False), (7, "1.40x", True)]
)
def test_a_peak_matters_above_the_head_room(sockets: int, by: str, matters: bool) -> None:
    found = find_drift(profile(), quiet(peaks=Peaks(sockets=sockets, **held())))
    assert [(each.by, each.matters) for each in found] == ([(by, matters)] if by else [])
    if found:
        assert (found[0].profiled, found[0].observed) == (5, sockets)


def test_memory_of_one_program_is_compared_with_its_own() -> None:
    programs = (ProgramHeld(program=WEB, **held(resident_kib=8192)),)
    [found] = find_drift(profile(), quiet(programs=programs))
    assert (found.object, found.by) == (f"{WEB} KiB resident", "2.00x")


@pytest.mark.parametrize(("relayed", "matters"), [(10, False), (11, True)])
def test_relayed_blocks_matter_above_one_in_a_thousand(relayed: int, matters: bool) -> None:
    array = ArrayUse(block_size=64, blocks=100, given=9_990, relayed=relayed, most_taken=100)
    [found] = find_drift(profile(), quiet(memory=(memory(arrays=(array,)),)))
    assert (found.profiled, found.observed, found.matters) == (100, 100 + relayed, matters)


def test_an_unexpected_size_and_a_wrong_free_are_drift() -> None:
    use = memory(unexpected=(UnexpectedSize(size=77, count=500),), faults=1)
    found = find_drift(profile(), quiet(memory=(use,)))
    assert [(each.object, each.observed) for each in found] == [
        (f"{WEB} 77", 500), (f"{WEB} free", 1),
    ]  # fmt: skip


def test_a_file_where_none_was_made_is_drift_and_one_more_log_is_not() -> None:
    folders = (
        Folder(path="/var/log/web", names=("access.log", "access.log.1"), entries=2),
        Folder(path="/var/log/web/.hidden", names=("a", "b"), entries=40),
        Folder(path="/run/onejob/memory", names=("1.counts",), entries=1),
    )
    [found] = find_drift(profile(), quiet(folders=folders))
    assert (found.kind, found.object, found.observed) == ("file", "/var/log/web/.hidden", 40)


# --- the next profile ----------------------------------------------------------------------------


def next_profile(found: Observations, without: frozenset[str] = frozenset()) -> Profile:
    made = profile_observed(found, profile(), without)
    return merge_profiles([Labelled("first", profile()), Labelled("observed", made)])


def test_the_next_profile_has_no_drift_of_the_same_observations() -> None:
    array = ArrayUse(block_size=64, blocks=100, given=1, relayed=50, most_taken=100)
    found = observations(
        peaks=Peaks(sockets=50, **held(processes=9)),
        programs=(ProgramHeld(program=WEB, **held(processes=9)),),
        memory=(memory(arrays=(array,), unexpected=(UnexpectedSize(size=77, count=5),)),),
    )
    merged = next_profile(found)
    assert (merged.number_of_sockets, merged.number_of_processes) == (50, 9)
    [row] = [row for row in merged.role_calls if row.call_name == "ptrace"]
    assert (row.program, row.role, row.settled, row.count) == (WEB, "worker", True, 3)
    assert {row.block_size: row.peak for row in merged.allocations} == {64: 150, 77: 5}
    assert find_drift(merged, found) == ()
    assert merged.provenance is not None
    assert merged.provenance.sources == ("first", "observed")


def test_a_known_call_with_another_argument_is_drift() -> None:
    """AF_PACKET, where the profile has AF_INET."""
    socket = denied(41, args=("17", "3", "0", "0", "0", "0"), role="", phase="")
    call = CallUse(program=WEB, call_name="socket", phase="serve", drill="serve", count=1)
    inet = Argument(program=WEB, call_name="socket", drill="serve", values=(2, 1, 0), count=1)
    [found] = find_drift(profile(calls=(call,), arguments=(inet,)), quiet(denials=(socket,)))
    assert (
        found.what == f"{WEB} called socket with 0x11, 0x3, 0x0, which it never did when profiled"
    )


def test_a_call_can_be_left_denied() -> None:
    found = observations(denials=(denied(), denied(41, args=("1", "524289", "0", "0", "0", "0"))))
    merged = next_profile(found, frozenset({"ptrace"}))
    assert {call.call_name for call in merged.calls} == {"read", "socket"}
    [argument] = merged.arguments
    assert (argument.call_name, argument.values) == ("socket", (1, 524289, 0))


def test_observations_of_another_service_are_refused() -> None:
    with pytest.raises(InputError, match="observations of 'mail', and a profile of 'web'"):
        profile_observed(observations(name="mail"), profile())


def test_what_a_service_counted_wrongly_does_not_grow_without_limit() -> None:
    array = ArrayUse(block_size=64, blocks=100, given=0, relayed=2**64 - 1, most_taken=2**64 - 1)
    size = UnexpectedSize(size=2**64 - 1, count=2**64 - 1)
    merged = next_profile(quiet(memory=(memory(arrays=(array,), unexpected=(size,)),)))
    assert {row.peak for row in merged.allocations} == {200, 64}


def test_arguments_are_noted_as_the_probe_notes_them() -> None:
    text = (ROOT / "native/probe/src/calls.rs").read_text()
    rules = re.findall(r"call\((\d+)\)[^;\n]*?\.facts\(&\[([\d, ]+)\]\)", text)
    noted = {
        call_name(int(number)): tuple(int(place) for place in places.split(","))
        for number, places in rules
    }
    assert {name: noted.get(name) for name in ARGUMENT_FACTS} == ARGUMENT_FACTS


def test_a_drifted_fact_says_by_how_much() -> None:
    one = Drifted(kind="peak", object="x", profiled=4, observed=6, what="x")
    assert one.by == "1.50x"
