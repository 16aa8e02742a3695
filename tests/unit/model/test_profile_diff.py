"""Differences: exactly what was added, removed or changed."""

from hypothesis import HealthCheck, given, settings

from onejob.model.profile import CallUse, FileUse, Profile, ProgramPeak, Use
from onejob.model.profile_diff import Change, Difference, diff_profiles
from onejob.model.profile_rules import RULES, Rule, fields_of, key_getter
from some_profiles import profiles

bounded = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
KINDS = fields_of(Profile, Rule.ROWS, Rule.SEQUENCE)


@bounded
@given(profiles())
def test_nothing_differs_from_itself(a: Profile) -> None:
    assert diff_profiles(a, a, "all").differences == ()


@bounded
@given(profiles(), profiles())
def test_what_was_added_is_named_and_nothing_else(a: Profile, b: Profile) -> None:
    """Rows of b under new keys, put beside those of a."""
    together, expected = {}, []
    for kind in KINDS:
        known = {key_getter(type(row))(row) for row in getattr(a, kind)}
        keys = {key_getter(type(row))(row): row for row in getattr(b, kind)}
        new = {key: row for key, row in keys.items() if key not in known}
        together[kind] = (*getattr(a, kind), *new.values())
        for row in new.values():
            fact = {name: getattr(row, name) for name in fields_of(type(row), Rule.KEY)}
            expected.append((kind, fact))
    more = a.model_copy(update=together)
    found = diff_profiles(a, more).differences
    assert {d.what for d in found} <= {"added"}
    assert sorted(map(repr, ((d.kind, d.fact) for d in found))) == sorted(map(repr, expected))
    lacks = diff_profiles(more, a).differences
    assert [(d.kind, d.fact, d.what) for d in lacks] == [(d.kind, d.fact, "removed") for d in found]


@bounded
@given(profiles(), profiles())
def test_the_other_way_round_is_the_opposite(a: Profile, b: Profile) -> None:
    opposite = {"added": "removed", "removed": "added", "changed": "changed"}
    there, back = diff_profiles(a, b, "all"), diff_profiles(b, a, "all")
    assert [(d.kind, d.fact, opposite[d.what]) for d in there.differences] == [
        (d.kind, d.fact, d.what) for d in back.differences
    ]
    assert [(c.field, c.after, c.before) for d in there.differences for c in d.changes] == [
        (c.field, c.before, c.after) for d in back.differences for c in d.changes
    ]


def profile(count: int, failed: int, threads: int, *hows: str) -> Profile:
    uses = [
        Use.model_validate({"program": "/x", "drill": "serve", "how": h, "count": 1}) for h in hows
    ]
    call = CallUse(
        program="/x", call_name="read", phase="serve", drill="serve", count=count, failed=failed
    )
    return Profile(
        calls=(call,), files=(FileUse(path="/f", kind="file", uses=tuple(uses)),),
        program_peaks=(ProgramPeak(program="/x", threads=threads),),
    )  # fmt: skip


def kinds(a: Profile, b: Profile, **options: object) -> list[str]:
    return [d.kind for d in diff_profiles(a, b, **options).differences]  # type: ignore[arg-type]


def test_how_closely_numbers_are_compared() -> None:
    a, b = profile(23, 1, 1), profile(29, 2, 5)
    assert kinds(a, b, measures="none") == []
    assert kinds(a, b) == ["program_peaks"]
    assert kinds(a, b, measures="all") == ["calls", "program_peaks"]


def test_a_call_that_fails_now_is_a_change_though_it_is_a_count() -> None:
    found = diff_profiles(profile(23, 0, 1), profile(23, 2, 1))
    place = {"program": "/x", "call_name": "read", "phase": "serve", "drill": "serve"}
    changes = (Change(field="failed", before=0, after=2),)
    assert found.differences == (
        Difference(kind="calls", what="changed", fact=place, changes=changes),
    )
    assert kinds(profile(23, 0, 1), profile(23, 2, 1), measures="none") == []


def test_a_new_use_of_a_known_file() -> None:
    found = diff_profiles(profile(1, 0, 1, "read"), profile(1, 0, 1, "read", "written"))
    place = {"path": "/f", "program": "/x", "drill": "serve", "how": "written"}
    assert found.differences == (Difference(kind="files.uses", what="added", fact=place),)


def test_lost_events_and_another_workload_are_of_the_whole_service() -> None:
    found = diff_profiles(Profile(workload="a"), Profile(workload="b", events_lost=3))
    assert found.differences == (
        Difference(
            kind="profile",
            what="changed",
            changes=(
                Change(field="events_lost", before=0, after=3),
                Change(field="workload", before="a", after="b"),
            ),
        ),
    )


def test_no_rule_is_left_out_of_the_comparison() -> None:
    rules = {rule for fields in RULES.values() for rule in fields.values()}
    assert rules == set(Rule)
