"""The profile's XML: round trip, the paper's own example, what a JDK's XMLEncoder writes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import small_world
from onejob.model.errors import InputError
from onejob.model.profile import (
    Argument,
    CallUse,
    FileUse,
    MemoryAllocation,
    Profile,
    Provenance,
    SystemCall,
    Use,
)
from onejob.model.profile_xml import load_profile, parse_profile, write_profile

WORDS = st.text(st.characters(codec=None), max_size=12)  # control characters, lone surrogates, all
COUNTS = st.integers(0, 2**63 - 1)
VALUES = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4).map(tuple)
HOWS = st.sampled_from(["read", "written", "missing", "renamed-to"])
PHASES = st.sampled_from(["boot", "serve"])

USES = st.builds(Use, program=WORDS, drill=WORDS, how=HOWS, count=COUNTS)
FILES = st.builds(
    FileUse, path=WORDS, kind=st.sampled_from(["file", "missing", "symlink"]), size=COUNTS,
    mode=st.integers(0, 0o7777), uid=st.integers(0, 2**32 - 1), target=WORDS,
    needed=st.lists(WORDS, max_size=2).map(tuple), existed=st.booleans(),
    uses=st.lists(USES, max_size=2).map(tuple), origin=st.sampled_from(["observed", "user"]),
)  # fmt: skip
CALLS = st.builds(
    CallUse, program=WORDS, call_name=WORDS, phase=PHASES, drill=WORDS, count=COUNTS, errors=VALUES
)
ARGUMENTS = st.builds(
    Argument, program=WORDS, call_name=WORDS, drill=WORDS, values=VALUES, count=COUNTS
)
PROVENANCES = st.builds(
    Provenance, onejob=WORDS, machine=WORDS, kernel=WORDS, libc=WORDS, distribution=WORDS,
    backend=st.sampled_from(["ebpf", "import"]),
)  # fmt: skip
PROFILES = st.builds(
    Profile, number_of_processes=COUNTS, events_lost=COUNTS, name=WORDS, workload=WORDS,
    provenance=st.none() | PROVENANCES, calls=st.lists(CALLS, max_size=2).map(tuple),
    arguments=st.lists(ARGUMENTS, max_size=2).map(tuple),
    files=st.lists(FILES, max_size=3).map(tuple),
)  # fmt: skip


@given(profile=PROFILES)
@settings(max_examples=120, deadline=None)
def test_what_was_written_is_read_again(profile: Profile) -> None:
    text = write_profile(profile)
    text.encode()  # lone surrogates, too, have to go into a file
    assert parse_profile(text) == profile
    assert write_profile(parse_profile(text)) == text


@given(text=st.text(st.characters(codec=None)))
@settings(max_examples=200, deadline=None)
def test_any_text_survives(text: str) -> None:
    assert parse_profile(write_profile(Profile(workload=text))).workload == text


@pytest.mark.parametrize(
    "text", ["a\rb", "\r\n", "\0", "\x1b[31m", "\ud800", "\ufffe", "]]>", "&amp;", " \n\t", "\x85"]
)
def test_troublesome_texts(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    path.write_text(write_profile(Profile(workload=text)), encoding="utf-8", newline="")
    assert load_profile(path).workload == text


def test_numbers_at_the_limits_of_java() -> None:
    profile = Profile(number_of_sockets=2**31 - 1, resident_kib=2**31, events_lost=2**63 - 1)
    text = write_profile(profile)
    assert "<int>2147483647</int>" in text
    assert "<long>2147483648</long>" in text
    assert parse_profile(text) == profile


def test_an_empty_profile_is_two_elements() -> None:
    assert write_profile(Profile()).splitlines()[1:] == [
        '<java version="1.5.0" class="java.beans.XMLDecoder">',
        ' <object class="Profile">',
        " </object>",
        "</java>",
    ]


def test_small_profile_is_as_it_was() -> None:
    text = write_profile(small_world.profile())
    small_world.check_golden("keeper.profile.xml", text)
    assert parse_profile(text) == small_world.profile()


PAPER = """<?xml version="1.0" encoding="UTF-8"?>
<java version="1.5.0_03" class="java.beans.XMLDecoder">
<object class="Profile">
<void property="memoryAllocations">
 <void index="0"><object class="MemoryAllocation">
  <void property="blockSize"><int>1024</int></void>
  <void property="numberOfBlocks"><int>24</int></void>
 </object></void>
 <void index="1"><object class="MemoryAllocation">
  <void property="blockSize"><int>2048</int></void>
  <void property="numberOfBlocks"><int>10</int></void>
 </object></void>
</void>
<void property="numberOfProcesses"><int>50</int></void>
<void property="numberOfSockets"><int>100</int></void>
<void property="systemCalls">
 <void index="0"><object class="SystemCall">
  <void property="callName"><string>fopen</string></void>
 </object></void>
 <void index="1"><object class="SystemCall">
  <void property="callName"><string>fclose</string></void>
 </object></void>
</void>
</object>
</java>
"""


def test_the_papers_own_example() -> None:
    assert parse_profile(PAPER) == Profile(
        memory_allocations=(
            MemoryAllocation(block_size=1024, number_of_blocks=24),
            MemoryAllocation(block_size=2048, number_of_blocks=10),
        ),
        number_of_processes=50,
        number_of_sockets=100,
        system_calls=(SystemCall(call_name="fopen"), SystemCall(call_name="fclose")),
    )


def test_lists_as_a_jdk_writes_them() -> None:
    call = (
        '<object class="SystemCall"><void property="callName"><string>{}</string></void></object>'
    )
    added = "".join(f'<void method="add">{call.format(name)}</void>' for name in ("read", "write"))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<java version="17.0.1" '
        'class="java.beans.XMLDecoder"><object class="Profile"><void property="systemCalls">'
        f'<object class="java.util.ArrayList">{added}</object></void></object></java>'
    )
    calls = parse_profile(text).system_calls
    assert [found.call_name for found in calls] == ["read", "write"]
    assert parse_profile(PAPER.replace("\n", "\r\n")) == parse_profile(PAPER)


def test_comments_do_not_cut_a_text_in_two() -> None:
    text = write_profile(Profile(name="ab")).replace("ab", "a<!-- here -->b")
    assert parse_profile(text).name == "ab"


def test_lines_beyond_65535_are_named() -> None:
    wrong = write_profile(Profile(name="a")).replace("<string>", "\n" * 70_000 + "<strong>")
    with pytest.raises(InputError, match=r"^profile:70\d{3}: "):
        parse_profile(wrong.replace("</string>", "</strong>"))


BLOCK = '<object class="MemoryAllocation"{}><void property="blockSize"><int>8</int></void></object>'
ONE, TWO = BLOCK.format(' id="a"'), BLOCK.format(' id="b"')
REFERENCES = {
    "nobody further up": ('<object idref="a"/>', "no MemoryAllocation further up has the id 'a'"),
    "given twice": (ONE + ONE, "id 'a' given twice"),
    "another class": ('<object idref="profile"/>', "no MemoryAllocation further up"),
    "with content": (ONE + '<object idref="a"><null/></object>', "no MemoryAllocation further"),
    "and a class": (ONE + '<object idref="a" class="x"/>', "<object> takes no attribute 'class'"),
    "an empty one": ('<object class="MemoryAllocation" idref=""/>', "takes no attribute 'class'"),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_is_to_a_whole_object_of_the_same_class_further_up(name: str) -> None:
    """So there can be no circle."""
    objects, why = REFERENCES[name]
    members = objects.replace("</object><object", "</object></void><void method='add'><object")
    text = (
        '<java><object class="Profile" id="profile"><void property="memoryAllocations">\n'
        f"<void method='add'>{members}</void></void></object></java>"
    )
    with pytest.raises(InputError, match=f"^profile:2: .*{why}"):
        parse_profile(text)


def test_a_null_that_is_not_alone_is_refused() -> None:
    text = (
        '<java><object class="Profile"><void property="name"><null/><null/></void></object></java>'
    )
    with pytest.raises(InputError, match="a property holds exactly one value"):
        parse_profile(text)


@pytest.mark.parametrize(
    ("kind", "number"), [("byte", 128), ("short", -32769), ("int", 2**31), ("int", "010")]
)
def test_a_number_that_java_would_not_read_so_is_refused(kind: str, number: object) -> None:
    value = f'<void property="residentKib"><{kind}>{number}</{kind}></void>'
    with pytest.raises(InputError, match=f"'{number}' is no {kind}"):
        parse_profile(f'<java><object class="Profile">{value}</object></java>')


def test_references_that_would_be_written_out_to_more_than_a_file_are_refused() -> None:
    """A small file could otherwise become gigabytes when its profile goes into an image."""
    size, times = 100_000, 1000
    member = '<void method="add"><object class="SystemCall" id="a"><void property="callName">'
    first = f"{member}<string>{'x' * size}</string></void></object></void>"
    references = '<void method="add"><object idref="a"/></void>' * times
    text = (
        '<java><object class="Profile"><void property="systemCalls">'
        f"{first}{references}</void></object></java>"
    )
    with pytest.raises(InputError, match="references to more than 8388608 bytes"):
        parse_profile(text)
