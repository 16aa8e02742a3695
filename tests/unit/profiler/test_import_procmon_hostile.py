"""Hostile files that claim to be Process Monitor's: a message or a profile, never a traceback, and
no more memory than the file is large."""

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from procmon_files import COLUMNS, HEADER_SIZE, Story
from test_import_procmon import CONF, HEAD, MASTER, NGINX, WORKER, profile_of, row, story
from test_import_strace import partial, uses

from onejob.model.errors import InputError
from onejob.model.profile import Profile
from onejob.model.profile_xml import parse_profile, write_profile
from onejob.profiler.imports import windows_rows
from onejob.profiler.imports.source import MAX_LINE_BYTES


def short(*, wide: bool = True) -> Story:
    """A few of each kind of operation."""
    whole = story(wide=wide)
    whole.rows, whole.events = (
        whole.rows[:8] + whole.rows[33:80],
        whole.events[:8] + whole.events[33:80],
    )
    return whole


PML, PML_32, CSV = short().pml(), short(wide=False).pml(), short().csv()
EVENTS, OFFSETS, PROCESSES, STRINGS = 0x234, 0x248, 0x250, 0x258
FEW = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def survives(folder: Path, data: bytes, program: str = NGINX) -> Profile | None:
    """The profile, which can be written and read again; None where the file was refused."""
    try:
        profile = profile_of(folder, data, program)
    except InputError:
        return None
    assert parse_profile(write_profile(profile)) == profile
    return profile


def patched(data: bytes, place: int, form: str, value: int) -> bytes:
    size = struct.calcsize(form)
    return data[:place] + struct.pack(form, value) + data[place + size :]


@FEW
@given(
    whole=some.sampled_from([PML, PML_32]),
    changes=some.lists(
        some.tuples(some.floats(0, 1), some.sampled_from("BHIQ"), some.integers(0, 2**64 - 1)),
        max_size=8,
    ),
    length=some.floats(0, 1),
)
def test_a_damaged_pml(
    tmp_path: Path, whole: bytes, changes: list[tuple[float, str, int]], length: float
) -> None:
    for place, form, value in changes:
        bits = 8 * struct.calcsize(form)
        whole = patched(whole, int(place * (len(whole) - 8)), f"<{form}", value % 2**bits)
    survives(tmp_path, whole)
    survives(tmp_path, whole[: int(len(whole) * length)])


@FEW
@given(
    field=some.sampled_from([EVENTS, OFFSETS, PROCESSES, STRINGS, HEADER_SIZE, HEADER_SIZE + 8]),
    value=some.one_of(some.integers(0, 2**32 - 1), some.integers(0, len(PML))),
)
def test_offsets_and_counts_of_a_pml(tmp_path: Path, field: int, value: int) -> None:
    survives(tmp_path, patched(PML, field, "<I", value))


TABLES = [
    (OFFSETS, "<Q", 0, "Process Monitor did not end it"),
    (PROCESSES, "<Q", 2**40, "lies outside of it"),
    (STRINGS, "<Q", 2**63, "lies outside of it"),
    (4, "<I", 8, "a PML file of version 8; 9 can be read"),
    (struct.unpack_from("<Q", PML, PROCESSES)[0], "<I", 2**32 - 1, "table of 4294967295 processes"),
    (struct.unpack_from("<Q", PML, PROCESSES)[0] + 4 + 16, "<I", 2**31, "process 0 lies outside"),
]


@pytest.mark.parametrize(("place", "form", "value", "why"), TABLES)
def test_a_pml_without_its_tables_is_refused(
    place: int, form: str, value: int, why: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=why):
        profile_of(tmp_path, patched(PML, place, form, value))


def test_events_that_are_said_to_lie_at_one_place_count_once(tmp_path: Path) -> None:
    told = Story()
    told.process(MASTER, 1, NGINX)
    for _ in range(5):
        told.create(MASTER, CONF)
    data = told.pml()
    offsets = struct.unpack_from("<Q", data, OFFSETS)[0]
    for index in range(5):
        data = patched(data, offsets + 5 * index, "<I", HEADER_SIZE)
    profile = profile_of(tmp_path, data)
    assert uses(profile, CONF)["read"] == 1
    assert profile.events_lost == 4
    assert "lost: 4 events that are not where the file says" in partial(profile)


def test_a_huge_number_of_events_is_lost_at_once(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, patched(PML, EVENTS, "<I", 2**32 - 1))
    assert profile.events_lost > 2**31


def test_more_modules_than_the_file_can_hold_are_refused(tmp_path: Path) -> None:
    table = struct.unpack_from("<Q", PML, PROCESSES)[0]
    (first,) = struct.unpack_from("<I", PML, table + 4 + 16)
    data = patched(PML, table + first + 0x68, "<I", 2**32 - 1)
    with pytest.raises(InputError, match="more modules than it can"):
        profile_of(tmp_path, data)


def test_parents_in_a_circle_have_no_root_and_no_end(tmp_path: Path) -> None:
    told = Story()
    told.process(MASTER, WORKER, NGINX)
    told.process(WORKER, MASTER, NGINX)
    told.create(MASTER, CONF)
    told.create(WORKER, CONF)
    for data in (told.pml(), told.csv()):
        profile = profile_of(tmp_path, data, "")
        assert (profile.program, uses(profile, CONF)) == (NGINX, {"read": 2})


@FEW
@given(
    rows=some.lists(some.lists(some.text(max_size=40), min_size=7, max_size=7), max_size=8),
    encoding=some.sampled_from(["utf-8-sig", "utf-16"]),
)
def test_any_texts_in_a_csv(tmp_path: Path, rows: list[list[str]], encoding: str) -> None:
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in cells) for cells in rows]
    text = HEAD + row("ReadFile", "C:\\x", "Length: 1") + "\r\n".join(lines)
    survives(tmp_path, text.encode(encoding, "surrogatepass"), "nginx.exe")


@FEW
@given(begin=some.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"]), rest=some.binary())
def test_any_bytes_in_a_csv(tmp_path: Path, begin: bytes, rest: bytes) -> None:
    survives(tmp_path, begin + rest, "")
    survives(tmp_path, CSV + rest)
    survives(tmp_path, short().csv(encoding="utf-16") + rest)


@FEW
@given(cut=some.integers(0, len(CSV)))
def test_a_csv_that_ends_early(tmp_path: Path, cut: int) -> None:
    survives(tmp_path, CSV[:cut])


def test_names_that_are_no_valid_utf_16_stay_what_they_are(tmp_path: Path) -> None:
    name = "C:\\\ud800x\udc00"
    told = Story()
    told.process(MASTER, 1, NGINX)
    told.create(MASTER, name)
    for data in (told.csv(encoding="utf-16"), told.pml()):
        profile = survives(tmp_path, data)
        assert profile
        assert uses(profile, name) == {"read": 1}


def test_rows_that_are_none_are_lost_and_the_others_stay(tmp_path: Path) -> None:
    good = row("CreateFile", "C:\\a", "Desired Access: Generic Read")
    bad = ['"1","2"\r\n', row("x", "y", "z").replace('"7"', '"x"'), '"open, ' + "x" * 100]
    profile = profile_of(tmp_path, (HEAD + good + bad[0] + bad[1] + good + bad[2]).encode(), "")
    assert uses(profile, "C:\\a") == {"read": 2}
    assert profile.events_lost == 3
    assert "lost: 3 rows that are none of Procmon's" in partial(profile)


@pytest.mark.parametrize("rest", [b'"' + b"x" * 2**23, b'"' + b'","\n' * 330_000, b"x" * 2**23])
def test_a_row_without_end_takes_no_memory(rest: bytes, tmp_path: Path) -> None:
    """Some MiB, of which no row may be longer than one."""
    path = tmp_path / "log"
    path.write_bytes((HEAD + row("CreateFile", "C:\\a", "Desired Access: Generic Read")).encode())
    with path.open("ab") as file:
        file.write(rest)
    data = path.read_bytes()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        profile = profile_of(tmp_path, data, "")
        assert tracemalloc.get_traced_memory()[1] - before < 12 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()
    assert uses(profile, "C:\\a") == {"read": 1}
    assert profile.events_lost > 0


def test_facts_beyond_their_limit_are_lost_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows_rows, "MAX_CHARACTERS", 3000)
    rows = "".join(row("CreateFile", f"C:\\{number:0>100}", "") for number in range(100))
    profile = profile_of(tmp_path, (HEAD + rows).encode(), "")
    assert len(profile.files) < 30
    assert profile.events_lost == 100 - len(profile.files)


def test_a_csv_of_something_else_is_of_no_tool_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of no tool that is known"):
        profile_of(tmp_path, HEAD.replace("Operation", "Other").encode())
    assert set(COLUMNS) <= set(HEAD.replace('"', "").strip().split(","))
