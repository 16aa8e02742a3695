"""The reader of profiles under fuzz: no traceback, bounded memory, and nothing is ever loaded."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onejob.bench.million_run import million
from onejob.model.errors import InputError
from onejob.model.profile import Profile
from onejob.model.profile_grammar import CLASSES, TABLE_ROWS
from onejob.model.profile_xml import MAX_PROFILE_BYTES, parse_profile, write_profile
from some_profiles import profiles

many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
TABLES = write_profile(million(TABLE_ROWS / 200_000)).replace("\n    <void index", "\n<void index")
SIZE = MAX_PROFILE_BYTES // 4  # which is no less telling: what is allowed for it is, too


def read_or_refused(text: str) -> Profile | None:
    """The profile; None where it was refused. Whatever else happens is a bug."""
    try:
        return parse_profile(text)
    except InputError as error:
        refused = error.what
    assert re.match(r"profile:\d+: .", refused) and len(refused) < 600
    return None


# --- what a fuzzer makes -------------------------------------------------------------------------

NAMES = ["object", "void", "array", "string", "int", "long", "boolean", "null", "char", "java", "x"]
CLASS_NAMES = [
    *CLASSES,
    "Table",
    "java.util.ArrayList",
    "java.lang.Runtime",
    "builtins.eval",
    "int",
]
ATTRIBUTES = st.lists(
    st.one_of(
        st.tuples(st.just("class"), st.sampled_from(CLASS_NAMES)),
        st.tuples(st.just("property"), st.sampled_from(["calls", "rows", "columns", "callName"])),
        st.tuples(st.sampled_from(["index", "length"]), st.sampled_from(["0", "1", "-1", "9e9"])),
        st.tuples(st.sampled_from(["id", "idref"]), st.sampled_from("ab")),
        st.tuples(
            st.sampled_from(["method", "code", "y"]), st.sampled_from(["add", "#41", "exec"])
        ),
    ),
    max_size=2,
    unique_by=lambda pair: pair[0],
).map(lambda pairs: "".join(f' {name}="{value}"' for name, value in pairs))
TEXTS = st.sampled_from(["", "1", "true", "read", "a\tb\n", "@0\t\n", "x", "&#13;", "\\41;", "  "])


def element(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    parts = st.tuples(st.sampled_from(NAMES), ATTRIBUTES, st.lists(inner, max_size=3).map("".join))
    return parts.map(lambda part: f"<{part[0]}{part[1]}>{part[2]}</{part[0]}>")


TREES = st.recursive(TEXTS, element, max_leaves=12)


@many
@given(TREES, st.sampled_from(["calls", "files", "memoryAllocations", "provenance", "name", ""]))
@example('<object class="Table"/>', "calls")
@example('<object class="ArrayList"><object/></object>', "calls")
def test_any_elements_are_read_or_refused(tree: str, name: str) -> None:
    inside = f'<void property="{name}">{tree}</void>' if name else tree
    read = read_or_refused(f'<java><object class="Profile">{inside}</object></java>')
    assert read is None or parse_profile(write_profile(read)) == read


@many
@given(profiles(), st.data())
def test_a_profile_with_changed_parts_is_read_or_refused(
    profile: Profile, data: st.DataObject
) -> None:
    """Cut at tags: pieces are taken out, doubled, swapped, and mixed with what does not belong."""
    read = read_or_refused(mutated(write_profile(profile).split("<"), data))
    assert read is None or parse_profile(write_profile(read)) == read


@settings(many, max_examples=60)
@given(st.data())
def test_tables_with_changed_parts_are_read_or_refused(data: st.DataObject) -> None:
    read = read_or_refused(mutated(TABLES.split("\t"), data, "\t"))
    assert read is None or parse_profile(write_profile(read)) == read


def mutated(parts: list[str], data: st.DataObject, joint: str = "<") -> str:
    places = st.integers(0, len(parts) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        at, other = data.draw(places), data.draw(places)
        kind = data.draw(st.sampled_from(["delete", "double", "swap", "insert"]))
        if kind == "delete":
            parts[at] = ""
        elif kind == "double":
            parts[at] += joint + parts[other]
        elif kind == "swap":
            parts[at], parts[other] = parts[other], parts[at]
        else:
            parts[at] += data.draw(st.text(max_size=4))
    return joint.join(parts)


# --- text that does not belong -------------------------------------------------------------------

WHOLE = (
    '<java>{}<object class="Profile">{}<void property="systemCalls">{}<array class="SystemCall">{}'
    '<void index="0">{}<object class="SystemCall">{}<void property="callName">{}'
    "<string>read</string>{}</void>{}</object>{}</void>{}</array>{}</void>{}</object>{}</java>"
)
GAPS = WHOLE.count("{}")


@pytest.mark.parametrize("gap", range(GAPS))
def test_text_between_elements_is_refused(gap: int) -> None:
    blank = WHOLE.format(*[" \n\t"] * GAPS)
    assert read_or_refused(blank) == read_or_refused(WHOLE.replace("{}", "")) != Profile()
    for stray in ("x", "&#160;", "&amp;", "<![CDATA[x]]>"):
        text = WHOLE.format(*(stray if number == gap else "\n" for number in range(GAPS)))
        with pytest.raises(InputError, match=r"^profile:\d+: text '.*' in <"):
            parse_profile(text)


# --- nothing is loaded ---------------------------------------------------------------------------

WATCHED = """
import sys
from pathlib import Path
from onejob.model.errors import InputError
from onejob.model.profile_xml import parse_profile
texts = Path(sys.argv[1]).read_text().split(chr(12))
parse_profile(texts[0])  # whatever reading needs is there now
events, before = [], set(sys.modules)
def watch(event, arguments):
    if event.split(".")[0] not in ("object", "sys"):
        events.append((event, str(arguments)[:200]))
sys.addaudithook(watch)
for text in texts:
    try:
        parse_profile(text)
    except InputError:
        pass
seen, new = list(events), set(sys.modules) - before
print(len(texts), seen, new)
"""
CODE = [
    "os",
    "os.system",
    "subprocess.Popen",
    "builtins.exec",
    "onejob.profiler.inside",
    "antigravity",
]


def test_names_of_classes_load_and_start_nothing(tmp_path: Path) -> None:
    """Python tells of each import, open, exec, compile and start of a process (PEP 578)."""
    places = [
        '<object class="{}"/>', '<object class="Profile"><void property="{}"/></object>',
        '<object class="Profile"><void property="files"><object class="{}"/></void></object>',
        '<object class="Profile"><void property="files"><array class="{}"/></void></object>',
        '<object class="Profile"><void property="name"><string>{}</string></void></object>',
        '<object class="Profile"><void method="{}"/></object>', "<{}/>",
        '<object class="Profile"><void property="files"><object class="Table"><void property='
        '"columns"><string>{}</string></void><void property="rows"/></object></void></object>',
    ]  # fmt: skip
    texts = [write_profile(million(TABLE_ROWS / 200_000))]
    texts += [f"<java>{place.format(name)}</java>" for place in places for name in CODE]
    path = tmp_path / "texts"
    path.write_text("\f".join(texts))
    assert run(WATCHED, path) == f"{len(texts)} [] set()"


def run(program: str, *arguments: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


# --- memory --------------------------------------------------------------------------------------

MEASURED = """
import sys
from pathlib import Path
from onejob.model.errors import InputError
from onejob.model.profile_xml import load_profile
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
before = peak()
try:
    load_profile(Path(sys.argv[1]))
    said = "read"
except InputError as error:
    said = error.what[:300]
print(peak() - before, said)
"""
CALL = '<object class="SystemCall"{}><void property="callName"><string>{}</string></void></object>'


def in_profile(name: str, value: str) -> tuple[str, str]:
    """What stands before and after the values of a property."""
    before, after = value.split("{}")
    begin = f'<java><object class="Profile"><void property="{name}">{before}'
    return begin, f"{after}</void></object></java>"


def repeated(around: tuple[str, str], member: Callable[[int], str]) -> Callable[[Path], None]:
    """Writes a file of SIZE, full of members."""

    def write(path: Path) -> None:
        with path.open("w") as file:
            file.write(around[0])
            number = 0
            while file.tell() < SIZE:
                file.write("".join(map(member, range(number, number + 500))))
                number += 500
            file.write(around[1])

    return write


def add(value: str) -> str:
    return f'<void method="add">{value}</void>'


CALLS = in_profile("systemCalls", "{}")
TABLE = in_profile(
    "reachableCalls",
    '<object class="Table"><void property="columns"><string>object\tcallName</string></void>'
    '<void property="rows"><array class="java.lang.String">{}</array></void></object>',
)
MEMORY = {
    "small beans": repeated(CALLS, lambda n: add(CALL.format("", "ab"))),
    "beans of wide characters": repeated(CALLS, lambda n: add(CALL.format("", "a" * 4000 + "😀"))),
    "beans with ids": repeated(CALLS, lambda n: add(CALL.format(f' id="{n}"', "ab"))),
    "references": repeated(
        CALLS, lambda n: add('<object idref="0"/>') if n else add(CALL.format(' id="0"', "a" * 100))
    ),
    "a bean with many members": repeated(
        in_profile("groups", '<void method="add"><object class="Group"><void property="members">'
                   "{}</void></object></void>"),
        lambda n: add("<string>ab</string>"),
    ),
    "numbers": repeated(
        in_profile("arguments", '<void method="add"><object class="Argument">'
                   '<void property="values">{}</void></object></void>'),
        lambda n: add(f"<int>{n}</int>"),
    ),
    "one text": repeated(in_profile("name", "<string>{}</string>"), lambda n: "a" * 1000),
    "one wide text": repeated(in_profile("name", "<string>😀{}</string>"), lambda n: "a" * 1000),
    "one comment": repeated(in_profile("name", "<!--{}-->"), lambda n: "a" * 1000),
    "one tag": repeated(("<java ", ""), lambda n: f'a{n}="" '),
    "one attribute": repeated(('<java version="', '"/>'), lambda n: "a" * 1000),
    "many tags": repeated(("<java>", ""), lambda n: f"<a{n}/>"),
    "many attributes": repeated(CALLS, lambda n: f'<void index="{n}" id="x" method="add"/>'),
    "deep": repeated(("", ""), lambda n: "<java>"),
    "comments": repeated(CALLS, lambda n: "<!---->"),
    "entities": repeated(in_profile("name", "<string>{}</string>"), lambda n: "&amp;"),
    "blank": repeated(("<java>", "</java>"), lambda n: "\n"),
    "rows": repeated(TABLE, lambda n: add("<string>" + "a\tb\n" * 5000 + "</string>")),
    "rows of one": repeated(TABLE, lambda n: add("<string>a\tb\n</string>")),
    "wide rows": repeated(TABLE, lambda n: add("<string>" + "aaaaaaaaa\t😀\n" * 999 + "</string>")),
    "words": repeated(
        (TABLE[0].replace('"rows"', '"words"'), TABLE[1]), lambda n: add("<string>ab</string>")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY)
def test_no_file_needs_more_than_twice_its_size(name: str, tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    MEMORY[name](path)
    grown, _, said = run(MEASURED, path).partition(" ")
    path.unlink()
    assert said.startswith((f"{path}:", "read"))
    assert int(grown) < 2 * SIZE, said
