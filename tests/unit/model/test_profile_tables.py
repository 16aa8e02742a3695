"""Tables of facts: lines and back, in the file and in memory, checked as strictly as beans."""

import re
import typing
from typing import Any

import pytest
from annotated_types import Ge, Le, Lt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from pydantic import WrapValidator

import small_world
from onejob.bench.million_run import million
from onejob.model.errors import InputError
from onejob.model.lines import MAX_WORDS, BadLine, Layout, numbers_up_to
from onejob.model.noun import Noun
from onejob.model.profile import (
    Account,
    Argument,
    CallUse,
    FileUse,
    MemoryAllocation,
    Profile,
    ReachableCall,
    SystemCall,
    Use,
)
from onejob.model.profile_grammar import CLASSES, NEVER_TABLES, TABLE_ROWS
from onejob.model.profile_schema import schema_text
from onejob.model.profile_table import table_parts
from onejob.model.profile_xml import parse_profile, write_profile
from onejob.model.rows import BLOCK_ROWS, Rows, pack
from some_profiles import rows

bounded = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
FACTS: dict[str, type[Noun]] = {
    name: typing.get_args(field.annotation)[0]
    for name, field in Profile.model_fields.items()
    if isinstance(field.default, tuple)
}
ANY_TEXT = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["@", "@0", "a,b", "|", "\\", "\\;", "\t", "\n", "\r", "\ud800", "\ufffe", "\0", "&lt;", "]]>"]
)


def head(text: str) -> str:
    """`text`, a table of ReachableCall, as the whole file."""
    return (
        '<java><object class="Profile"><void property="reachableCalls">\n'
        f'<object class="Table">{text}</object></void></object></java>'
    )


def strings(name: str, *texts: str) -> str:
    members = "".join(f'<void method="add"><string>{text}</string></void>' for text in texts)
    array = f'<array class="java.lang.String">{members}</array>'
    return f'<void property="{name}">{array}</void>'


COLUMNS = '<void property="columns"><string>object\tcallName</string></void>\n'


@pytest.mark.parametrize("name", FACTS)
@bounded
@given(data=st.data())
def test_any_fact_is_the_same_from_its_line(name: str, data: st.DataObject) -> None:
    made = tuple(data.draw(st.lists(rows(FACTS[name]), min_size=1, max_size=5)))
    packed: Rows[Any] = pack(FACTS[name], made)
    assert tuple(packed) == made
    assert packed == made and made == packed and hash(packed) == hash(made)
    read = Layout(FACTS[name], packed.layout.columns, packed.layout.words.known)
    for block in packed.blocks:
        read.checker()(block.decode())
    assert Rows(read, packed.blocks) == packed


@bounded
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=3)), min_size=1))
def test_any_text_survives_in_a_table(texts: list[tuple[str, str, list[str]]]) -> None:
    files = tuple(
        FileUse(
            path=path, kind="file", package=package, needed=tuple(names),
            uses=(Use(program=package, drill=path, how="read", count=2**63 - 1),),
        )
        for path, package, names in texts
    )  # fmt: skip
    many = files * (TABLE_ROWS // len(files) + 1)
    text = write_profile(Profile(files=many))
    assert '<object class="Table">' in text
    assert parse_profile(text).files == many
    assert write_profile(parse_profile(text)) == text
    assert write_profile(Profile(files=pack(FileUse, many))) == text


def test_a_text_that_is_empty_where_the_default_is_not() -> None:
    account = Account(name="a", uid=1, gid=1, home="")
    assert tuple(pack(Account, [account])) == (account,)


def test_rows_behave_as_their_tuple() -> None:
    made = tuple(CallUse(program="p", call_name=f"c{n}", phase="serve", drill="d", count=n)
                 for n in range(2 * BLOCK_ROWS + 7))  # fmt: skip
    packed = pack(CallUse, made)
    assert len(packed) == len(made) and len(packed.blocks) == 3
    for index in (0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, len(made) - 1, -1, -len(made)):
        assert packed[index] == made[index]
    for wrong in (len(made), -len(made) - 1):
        with pytest.raises(IndexError):
            _ = packed[wrong]
    for part in (slice(None), slice(998, 1003), slice(None, None, -500), slice(5, 2)):
        assert packed[part] == made[part]
    assert made[3] in packed and packed.index(made[3]) == 3
    assert list(reversed(packed)) == list(reversed(made))
    assert packed != made[1:] and packed != pack(CallUse, made[1:]) and packed != "text"
    assert pack(CallUse, ()) == () and not pack(CallUse, ())
    assert Profile(calls=packed) == Profile(calls=made)
    assert Profile(calls=packed).calls is packed


def test_few_facts_stay_beans_and_many_become_a_table() -> None:
    call = CallUse(program="p", call_name="c", phase="serve", drill="d", count=1)
    for count, tables in ((TABLE_ROWS - 1, 0), (TABLE_ROWS, 1)):
        for facts in ((call,) * count, pack(CallUse, (call,) * count)):
            text = write_profile(Profile(calls=facts))
            assert text.count('<object class="Table">') == tables
            assert text.count('<object class="CallUse">') == (0 if tables else count)
            assert len(parse_profile(text).calls) == count


def test_the_papers_properties_are_beans_however_many() -> None:
    sizes = tuple(MemoryAllocation(block_size=n, number_of_blocks=1) for n in range(TABLE_ROWS))
    text = write_profile(Profile(memory_allocations=sizes))
    assert text.count('<object class="MemoryAllocation">') == TABLE_ROWS
    read = parse_profile(text)
    assert isinstance(read.memory_allocations, Rows) and read.memory_allocations == sizes
    assert {"memory_allocations", "system_calls"} == NEVER_TABLES
    table = text[: text.index("<array")] + '<object class="Table"/></void></object></java>'
    with pytest.raises(InputError, match="class 'Table' is not allowed for this list"):
        parse_profile(table)


def test_a_large_profile_is_tables_that_the_schema_allows() -> None:
    profile = million(TABLE_ROWS / 200_000)
    text = write_profile(profile)
    assert text.count('<object class="Table">') == 3
    assert parse_profile(text) == profile
    schema = etree.RelaxNG(etree.fromstring(schema_text().encode()))
    assert schema.validate(etree.fromstring(text.encode())), schema.error_log


def test_a_table_is_as_it_was() -> None:
    """However few its rows: the reader asks only the writer for many."""
    calls = tuple(
        CallUse(
            program="/usr/bin/a,b", call_name=("read", "open")[n % 2], phase="serve",
            drill="@serve", count=n, failed=n % 3, errors=(2, 13)[: n % 3],
        )
        for n in range(23)
    )  # fmt: skip
    empty = write_profile(Profile(name="small"))
    prop = '  <void property="calls">\n' + "".join(table_parts(calls, 3)) + "  </void>\n"
    text = empty.replace(" </object>\n</java>", prop + " </object>\n</java>")
    small_world.check_golden("table.profile.xml", text)
    assert parse_profile(text) == Profile(name="small", calls=calls)


def test_columns_of_an_older_profile_are_read_with_defaults() -> None:
    text = head(COLUMNS + strings("words", "/bin/a") + strings("rows", "@0\tread\n", "b\t\n"))
    assert parse_profile(text).reachable_calls == (
        ReachableCall(object="/bin/a", call_name="read"),
        ReachableCall(object="b", call_name=""),
    )


WRONG: dict[str, tuple[str, int, str]] = {
    "no columns": (strings("rows", "a\tb\n"), 2, "a table names its columns before its rows"),
    "no rows": (COLUMNS, 2, "a table has rows"),
    "columns afterwards": (
        COLUMNS + strings("rows", "a\tb\n") + "\n" + strings("words"), 5, "before the rows",
    ),
    "twice": (COLUMNS + COLUMNS, 3, "property 'columns' given twice"),
    "another property": ('<void property="class"><int>1</int></void>', 2, "no property 'class'"),
    "unknown column": (
        COLUMNS.replace("object", "__class__") + strings("rows"), 2, "no column '__class__'"
    ),
    "a column twice": (
        COLUMNS.replace("object", "callName") + strings("rows"), 2, "or it is twice"
    ),
    "a column lacks": (COLUMNS.replace("\tcallName", "") + strings("rows"), 2, "lack callName"),
    "inner columns": (
        COLUMNS.replace("object", "object(path)") + strings("rows"), 2, "no columns of its own"
    ),
    "too few cells": (COLUMNS + strings("rows", "a\tb\nc\n"), 4, "1 cells where 2 columns are"),
    "too many cells": (COLUMNS + strings("rows", "a\tb\tc\n"), 3, "3 cells where 2 columns are"),
    "no end": (COLUMNS + strings("rows", "a\tb"), 3, "the last line has no end"),
    "nothing": (COLUMNS + strings("rows", ""), 3, "1 cells where 2 columns are"),
    "no such word": (COLUMNS + strings("rows", "@0\tb\n"), 3, "'@0' is no object"),
    "no such word of some": (
        COLUMNS + strings("words", *"abcdefghijk") + strings("rows", "@11\tb\n"), 3, "'@11' is no",
    ),
    "word of letters": (
        COLUMNS + strings("words", "a") + strings("rows", "@a\tb\n"), 3, "'@a' is no object"
    ),
    "comma": (COLUMNS + strings("rows", "a,\tb\n"), 3, "'a,' is no object"),
    "escape": (COLUMNS + strings("rows", "\\110000;\tb\n"), 3, "is no object"),
    "open escape": (COLUMNS + strings("rows", "\\41\tb\n"), 3, "is no object"),
    "element": (COLUMNS + '<void property="rows"><string/></void>', 3, "where a list must stand"),
    "two arrays": (COLUMNS + strings("rows").replace("</void>", "<array/></void>"), 3, "one value"),
    "words": (
        COLUMNS + strings("words", *["x"] * (MAX_WORDS + 1)), 3, f"more than {MAX_WORDS} words"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_refused_with_its_line(name: str) -> None:
    text, line, why = WRONG[name]
    with pytest.raises(InputError) as caught:
        parse_profile(head(text))
    assert caught.value.what.startswith(f"profile:{line}: ")
    assert why in caught.value.what


CELLS = {
    "-1": False, "0": True, "00": False, "1": True, "01": False, "+1": False, "1.0": False,
    "4294967295": True, "4294967296": False, "9" * 400: False, "\u0661": False, " 1": False,
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_numbers_are_checked_as_those_of_beans(cell: str) -> None:
    check = Layout(Account, "name\tuid\tgid").checker()
    if CELLS[cell]:
        check(f"a\t{cell}\t0\n")
    else:
        with pytest.raises(BadLine, match="is no uid of Account"):
            check(f"a\t0\t0\na\t{cell}\t0\n")


def test_values_are_javas_long() -> None:
    check = Layout(Argument, "program\tcallName\tdrill\tvalues\tcount").checker()
    check(f"p\tc\td\t{-(2**63)},{2**63 - 1},0,\t{2**63 - 1}\n")
    for wrong in (f"{2**63},", f"{-(2**63) - 1},", "-0,", "1", ",", "1,,"):
        with pytest.raises(BadLine, match="is no values of Argument"):
            check(f"p\tc\td\t{wrong}\t1\n")


@given(highest=st.integers(0, 3000), number=st.integers(0, 4000))
@settings(max_examples=300, deadline=None)
def test_patterns_of_numbers_are_right(highest: int, number: int) -> None:
    pattern = f"(?:{numbers_up_to(highest)})?x"
    assert bool(re.fullmatch(pattern, f"{number}x")) == (number <= highest)
    assert not re.fullmatch(pattern, f"0{number}x")


def test_a_word_is_made_only_of_what_is_worth_it() -> None:
    made = [SystemCall(call_name=name) for name in ("a", "b" * 10, "b" * 10, "c" * 2_000_000)]
    assert pack(SystemCall, made).layout.words.known == ["b" * 10]


def test_nouns_of_a_profile_have_no_checks_that_a_line_would_not_make() -> None:
    """A cell is checked by its field's type alone, and made into a noun without pydantic."""
    for noun in CLASSES.values():
        decorators = noun.__pydantic_decorators__
        assert not decorators.field_validators and not decorators.model_validators, noun
        for name, field in noun.model_fields.items():
            assert {type(part) for part in field.metadata} <= {Ge, Le, Lt, WrapValidator}, name
