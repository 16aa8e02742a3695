"""Merging: what any profile saw, counts added, the largest peaks; one binary only."""

import pytest
from hypothesis import HealthCheck, given, settings

from onejob.model import profile as nouns
from onejob.model.errors import InputError
from onejob.model.noun import Noun
from onejob.model.profile import (
    CallUse,
    DrillRun,
    FileUse,
    MemoryAllocation,
    Profile,
    ProgramPeak,
    Provenance,
    Use,
)
from onejob.model.profile_merge import UNKNOWN, Labelled, merge_profiles
from onejob.model.profile_rules import MAX_COUNT, RULES, Rule, fields_of
from some_profiles import profiles

bounded = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def merged(*profiles: Profile, force: bool = False) -> Profile:
    labelled = [Labelled(f"p{number}", profile) for number, profile in enumerate(profiles)]
    return merge_profiles(labelled, force=force)


def unordered(profile: Profile) -> Profile:
    """`profile` with what keeps the order of merging sorted."""
    provenance = profile.provenance or UNKNOWN
    sources = tuple(sorted(set(provenance.sources)))
    drills = tuple(sorted(profile.drills, key=lambda run: (run.name, run.phase)))
    parts = {"provenance": provenance.model_copy(update={"sources": sources}), "drills": drills}
    return profile.model_copy(update=parts)


def named(profile: Profile, name: str) -> Profile:
    """As if it had been imported from the file `name`, so that its source is its own."""
    provenance = (profile.provenance or UNKNOWN).model_copy(update={"sources": (name,)})
    return profile.model_copy(update={"provenance": provenance})


def test_every_field_of_every_noun_has_a_rule() -> None:
    classes = {
        value
        for value in vars(nouns).values()
        if isinstance(value, type) and issubclass(value, Noun) and value is not Noun
    }
    assert set(RULES) == classes
    for noun, rules in RULES.items():
        assert set(rules) == set(noun.model_fields), noun.__name__


def test_every_fact_is_identified() -> None:
    for noun in RULES:
        if noun not in (Profile, Provenance):
            assert fields_of(noun, Rule.KEY), noun.__name__


def test_counts_of_one_and_the_same_row_are_added_too() -> None:
    call = CallUse(program="p", call_name="c", phase="serve", drill="d", count=3)
    profile = Profile(calls=(call,))
    assert [row.count for row in merged(profile, profile, profile).calls] == [9]


@bounded
@given(profiles(), profiles())
def test_merge_is_commutative(a: Profile, b: Profile) -> None:
    a, b = named(a, "a"), named(b, "b")
    assert unordered(merged(a, b)) == unordered(merged(b, a))


@bounded
@given(profiles(), profiles(), profiles())
def test_merge_is_associative(a: Profile, b: Profile, c: Profile) -> None:
    a, b, c = named(a, "a"), named(b, "b"), named(c, "c")
    together = unordered(merged(a, b, c))
    assert unordered(merged(merged(a, b), c)) == together
    assert unordered(merged(a, merged(b, c))) == together


@bounded
@given(profiles())
def test_merged_with_itself_it_has_its_own_peaks(a: Profile) -> None:
    once, twice = merged(a), merged(a, a)
    for name in fields_of(Profile, Rule.PEAK):
        assert getattr(twice, name) == getattr(a, name)
    for name in ("memory_allocations", "program_peaks", "files", "system_calls"):
        ours, theirs = getattr(once, name), getattr(twice, name)
        peaks = fields_of(type(ours[0]), Rule.KEY, Rule.PEAK, Rule.STATE) if ours else ()
        assert [[getattr(row, p) for p in peaks] for row in ours] == [
            [getattr(row, p) for p in peaks] for row in theirs
        ]
    assert twice.events_lost == 2 * a.events_lost


def call(**fields: object) -> CallUse:
    base = {"program": "/bin/x", "call_name": "read", "phase": "serve", "drill": "serve"}
    return CallUse.model_validate({**base, **fields})


def test_counts_add_peaks_do_not_and_errors_unite() -> None:
    a = Profile(
        calls=(call(count=23, failed=1, errors=(11,), origin="static"),), number_of_threads=7,
        memory_allocations=(MemoryAllocation(block_size=32, number_of_blocks=5),),
        program_peaks=(ProgramPeak(program="/bin/x", threads=7),), events_lost=2,
    )  # fmt: skip
    b = Profile(
        calls=(call(count=19, failed=2, errors=(4, 11)), call(drill="stop", count=1)),
        memory_allocations=(MemoryAllocation(block_size=32, number_of_blocks=3),),
        program_peaks=(ProgramPeak(program="/bin/x", threads=3, descriptors=9),), events_lost=3,
    )  # fmt: skip
    both = merged(a, b)
    assert both.calls == (
        call(count=42, failed=3, errors=(4, 11), origin="observed"),
        call(drill="stop", count=1),
    )
    assert (both.number_of_threads, both.events_lost) == (7, 5)
    assert both.memory_allocations == a.memory_allocations
    assert both.program_peaks == (ProgramPeak(program="/bin/x", threads=7, descriptors=9),)


def test_counts_stay_countable() -> None:
    huge = Profile(calls=(call(count=MAX_COUNT),))
    assert merged(huge, huge).calls[0].count == MAX_COUNT


def test_a_file_is_described_by_the_profile_that_found_it() -> None:
    use = Use(program="/bin/x", drill="serve", how="missing", count=1)
    missing = FileUse(path="/etc/x", kind="missing", existed=False, uses=(use,))
    there = FileUse(path="/etc/x", kind="file", size=5, sha256="ab", origin="static")
    file = merged(Profile(files=(missing,)), Profile(files=(there,))).files[0]
    assert file == there.model_copy(update={"uses": (use,), "origin": "observed"})


def test_drills_keep_the_order_of_time() -> None:
    def runs(*names: str) -> tuple[DrillRun, ...]:
        return tuple(DrillRun(name=name, phase="serve", quiet_rounds=len(name)) for name in names)

    both = merged(
        Profile(drills=runs("start", "serve", "stop")),
        Profile(drills=runs("start", "serve", "reload", "stop")),
    )
    assert [(run.name, run.rounds, run.quiet_rounds) for run in both.drills] == [
        ("start", 2, 5), ("serve", 2, 5), ("reload", 1, 6), ("stop", 2, 4),
    ]  # fmt: skip


def test_sources_are_kept_and_provenance_names_all_kernels() -> None:
    def taken(kernel: str, **fields: object) -> Profile:
        base = {
            "onejob": "1",
            "machine": "x86_64",
            "kernel": kernel,
            "libc": "",
            "distribution": "",
        }
        provenance = Provenance.model_validate({**base, "backend": "ebpf", **fields})
        return Profile(provenance=provenance)

    log = taken("6.2", backend="import", partial="no memory", sources=("x.log (strace)",))
    provenance = merged(taken("6.1"), log, taken("6.1")).provenance
    assert provenance is not None
    assert provenance.sources == ("p0", "x.log (strace)", "p2")
    assert (provenance.kernel, provenance.backend) == ("6.1; 6.2", "ebpf")
    assert provenance.partial == "no memory"


def binary(path: str, sha256: str, how: str, **fields: object) -> FileUse:
    use = {"program": "/bin/x", "drill": "start", "how": how, "count": 1}
    data = {"path": path, "kind": "file", "sha256": sha256, "uses": (use,), **fields}
    return FileUse.model_validate(data)


@pytest.mark.parametrize(
    ("path", "how", "fields"),
    [
        ("/bin/x", "looked-up", {}),  # the service's own program
        ("/bin/sh", "executed", {}),
        ("/lib/libc.so.6", "mapped", {}),
        ("/opt/plugin", "mapped", {"needed": ("/lib/libc.so.6",)}),
    ],
)
def test_different_binaries_are_refused_by_name(
    path: str, how: str, fields: dict[str, object]
) -> None:
    a = Profile(program="/bin/x", files=(binary(path, "aa", how, **fields),))
    b = Profile(program="/bin/x", files=(binary(path, "bb", how, **fields),))
    with pytest.raises(InputError, match=f"p0 and p1 are of different binaries: {path}$") as caught:
        merged(a, b)
    assert "--force" in caught.value.hint
    assert merged(a, b, force=True).files[0].sha256 == "bb"


def test_data_that_changed_is_no_other_binary() -> None:
    files = [binary("/etc/ld.so.cache", sha256, "mapped") for sha256 in ("aa", "bb")]
    a, b = (Profile(program="/bin/x", files=(file,)) for file in files)
    assert len(merged(a, b).files) == 1


def test_only_the_third_differs_from_the_second() -> None:
    library = [binary("/lib/y.so", sha256, "mapped") for sha256 in ("aa", "bb")]
    profiles = [Profile(), *(Profile(files=(file,)) for file in library)]
    with pytest.raises(InputError, match=r"^p1 and p2 are of different binaries: /lib/y\.so$"):
        merged(*profiles)


def test_other_services_are_refused() -> None:
    with pytest.raises(InputError, match=r"/bin/x, /bin/y$"):
        merged(Profile(program="/bin/x"), Profile(program="/bin/y"))
    link = FileUse(path="/bin/x", kind="symlink", target="y")
    assert merged(Profile(program="/bin/x", files=(link,)), Profile(program="/bin/y")).files
