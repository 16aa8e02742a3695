"""Rounds: what each brought, and that their sum is the drill."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onejob.profiler.novelty import BY_CHANCE, drill_runs, news_of, tell_news
from onejob.profiler.recording import Recording
from onejob.profiler.rounds import drill_of, fold_rounds, round_name

READ, SOCKET, CONNECT, OPENAT, FUTEX, SCHED_YIELD, CHOWN = 0, 41, 42, 257, 202, 24, 92
CREATED = {"flags": 0o101, "created": True, "nr": OPENAT, "role": "path"}
DRILLS = ("start", "serve", "reload", "serve#2", "reload#2")


def recording(drills: tuple[str, ...] = DRILLS, **rows: object) -> Recording:
    base: dict[str, object] = {
        "format": 2, "backend": "ebpf", "drills": drills, "lost": {},
        "programs": ({"id": 0, "path": "/bin/service"}, {"id": 1, "path": "/bin/other"}),
        "calls": (), "facts": (), "files": (), "peaks": {},
    }  # fmt: skip
    return Recording.model_validate({**base, **rows})


def row(drill: int, **fields: object) -> dict[str, Any]:
    return {"program": 0, "drill": drill, "count": 1, **fields}


def brought(**rows: object) -> list[list[str]]:
    return [[fact.shown for fact in news] for news in news_of(recording(**rows))]


def test_a_call_is_new_once_for_each_program_and_phase() -> None:
    calls = (
        row(0, nr=READ), row(1, nr=READ, count=9), row(2, nr=READ), row(3, nr=READ, program=1),
        row(4, nr=READ, errors={"4": 1}),
    )  # fmt: skip
    assert brought(calls=calls) == [
        ["service: read"], ["service: read"], [], ["other: read"], [],
    ]  # fmt: skip


@pytest.mark.parametrize("nr", [FUTEX, SCHED_YIELD])
def test_what_chance_decides_is_never_new(nr: int) -> None:
    calls, facts = (row(1, nr=nr),), (row(1, nr=nr, args=(129,)),)
    assert brought(calls=calls, facts=facts) == [[], [], [], [], []]
    assert len(BY_CHANCE) == 3


def test_a_file_is_new_once_for_each_way_whoever_uses_it() -> None:
    read = {"nr": OPENAT, "role": "path", "path": "/etc/hostname"}
    files = (row(1, **read), row(2, **read, program=1), row(3, **read, flags=0o2001))
    assert brought(files=files) == [
        [], ["service: read /etc/hostname"], [], ["service: appended /etc/hostname"], [],
    ]  # fmt: skip


def test_a_temporary_file_of_each_round_is_new_in_the_first_only() -> None:
    files = [row(drill, **CREATED, path=f"/run/no-such-{drill}") for drill in (1, 3)]
    first = ["service: created /run/no-such-1", "service: written /run/no-such-1"]
    assert brought(files=tuple(files)) == [[], first, [], [], []]


def test_ports_that_the_kernel_chooses_are_one() -> None:
    facts = [row(d, nr=CONNECT, args=(2, port)) for d, port in ((1, 40001), (2, 80), (3, 55001))]
    assert brought(facts=tuple(facts)) == [
        [], ["service: connect 2 ephemeral"], ["service: connect 2 80"], [], [],
    ]  # fmt: skip


def test_each_further_kind_is_new_once() -> None:
    rows: dict[str, tuple[dict[str, Any], ...]] = {
        "facts": ({"nr": SOCKET, "args": (2, 1, 0)},),
        "listeners": ({"family": 2, "type": 1, "address": "0.0.0.0", "port": 80},),
        "capabilities": ({"capability": 0},),
        "identities": ({"uid": 33, "gid": 33},),
        "starts": ({"child": 1, "how": "exec"},),
        "interfaces": ({"kind": "filesystem", "name": "tmpfs"},),
    }
    for kind, (fields,) in rows.items():
        counted = {} if kind in ("listeners", "identities") else {"count": 1}
        seen = tuple({"program": 0, "drill": drill, **counted, **fields} for drill in (1, 3))
        news = news_of(recording(**{kind: seen}))
        assert [len(each) for each in news] == [0, 1, 0, 0, 0], kind


def test_the_profile_says_how_many_rounds_and_how_many_were_quiet() -> None:
    calls = (row(0, nr=READ), row(1, nr=READ), row(2, nr=CHOWN), row(3, nr=SOCKET))
    runs = drill_runs(recording(calls=calls))
    assert [(r.name, r.new_calls, r.rounds, r.quiet_rounds) for r in runs] == [
        ("start", 1, 1, 0), ("serve", 2, 2, 0), ("reload", 1, 2, 1),
    ]  # fmt: skip


def test_news_in_words() -> None:
    calls = (row(2, nr=CHOWN),)
    files = (row(2, nr=OPENAT, role="path", path="/etc/hostname"),)
    start, _, reload, *_ = news_of(recording(calls=calls, files=files))
    assert tell_news("start", start) == "drill start: nothing new"
    assert tell_news("reload", reload) == (
        "drill reload: 1 new call (service: chown), 1 new file (service: read /etc/hostname)"
    )


def test_names_of_rounds() -> None:
    assert [round_name("serve", number) for number in (1, 2, 12)] == [
        "serve",
        "serve#2",
        "serve#12",
    ]
    assert {drill_of(name) for name in ("serve", "serve#2", "serve#12")} == {"serve"}


def test_a_drill_is_the_sum_of_its_rounds() -> None:
    listener = {"program": 0, "family": 2, "type": 1, "address": "::", "port": 80}
    seen = recording(
        calls=(
            row(1, nr=READ, count=20, errors={"4": 1}),
            row(3, nr=READ, count=3, errors={"4": 2}),
        ),
        facts=(row(1, nr=SOCKET, args=(2, 1, 0), failed=1), row(3, nr=SOCKET, args=(2, 1, 0))),
        listeners=(
            {**listener, "drill": 1, "backlog": 5, "queue_peak": 3, "accepted": 20},
            {**listener, "drill": 3, "backlog": 5, "queue_peak": 2, "accepted": 3},
        ),
        identities=tuple({"program": 0, "drill": d, "uid": 33, "gid": 33} for d in (1, 3)),
    )
    folded = fold_rounds(seen)
    assert folded.drills == ("start", "serve", "reload")
    assert [(r.drill, r.count, r.errors) for r in folded.calls] == [(1, 23, {"4": 3})]
    assert [(r.drill, r.count, r.failed) for r in folded.facts] == [(1, 2, 1)]
    (queue,) = folded.listeners
    assert (queue.backlog, queue.queue_peak, queue.accepted) == (5, 3, 23)
    assert len(folded.identities) == 1


CALLS = st.lists(
    st.builds(
        row, st.integers(0, 4), nr=st.sampled_from([READ, SOCKET, CHOWN]),
        program=st.integers(0, 1), count=st.integers(1, 99),
    ),
    max_size=12,
)  # fmt: skip


@given(CALLS)
def test_folding_keeps_every_count_and_brings_nothing_new(calls: list[dict[str, Any]]) -> None:
    seen = recording(calls=tuple(calls))
    folded = fold_rounds(seen)
    assert sum(r.count for r in folded.calls) == sum(r["count"] for r in calls)
    assert len({(r.program, r.drill, r.nr) for r in folded.calls}) == len(folded.calls)
    assert fold_rounds(folded) == folded
    assert {f.identity() for n in news_of(folded) for f in n} == {
        f.identity() for n in news_of(seen) for f in n
    }


@given(CALLS)
def test_a_round_that_repeats_what_was_is_quiet(calls: list[dict[str, Any]]) -> None:
    again = [{**each, "drill": 4, "count": 7} for each in calls if each["drill"] > 0]
    news = news_of(recording((*DRILLS[:4], "last"), calls=(*calls, *again)))
    known = {(c["program"], c["nr"]) for c in calls if 0 < c["drill"] < 4}
    only_last = {(c["program"], c["nr"]) for c in calls if c["drill"] == 4} - known
    assert len(news[4]) == len(only_last)
