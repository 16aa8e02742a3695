"""Files by somebody who means harm: each is refused with its line, in bounded time and memory."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import small_world
from onejob.model.component import Component
from onejob.model.errors import InputError
from onejob.model.hardware import load_hardware
from onejob.model.image import open_image
from onejob.model.profile_xml import MAX_PROFILE_BYTES, load_profile, parse_profile, write_profile
from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.profiler.recording import read_recording

VALID = write_profile(small_world.profile())
SMALL = VALID[: VALID.index(' <void property="calls"')]  # enough for every byte of it
SMALL += " </object>\n</java>\n"
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<java class="java.beans.XMLDecoder">\n'


def bean(inside: str) -> str:
    return f'{HEAD}<object class="Profile">\n{inside}\n</object>\n</java>\n'


def prop(name: str, value: str) -> str:
    return bean(f'<void property="{name}">\n{value}\n</void>')


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
NINES = "9" * 10_000
SIZE = '<void property="blockSize"><int>{}</int></void>'

# What is wrong -> (the file, the line that must be named, words of the reason).
HOSTILE: dict[str, tuple[str, int, str]] = {
    "doctype": ('\n<!DOCTYPE java SYSTEM "http://127.0.0.1:9/x.dtd">\n<java/>', 2, "DOCTYPE"),
    "late doctype": (HEAD + '<!DOCTYPE java SYSTEM "http://127.0.0.1:9/x">', 3, "well-formed"),
    "external entity": (
        '<?xml version="1.0"?>\n<!-- <! -->\n<!DOCTYPE j [<!ENTITY e SYSTEM "file:///etc/passwd">'
        ']>\n' + prop("name", "<string>&e;</string>"),
        3, "DOCTYPE",
    ),
    "billion laughs": (f'<!DOCTYPE j [<!ENTITY l0 "ha">{LAUGHS}]>\n<java>&l9;</java>', 1, "DOCT"),
    "unknown entity": (prop("name", "<string>&nbsp;</string>"), 5, "entity"),
    "length": (prop("calls", '<array class="CallUse" length="99999999999"/>'), 5, "length"),
    "long length": (prop("calls", f'<array class="CallUse" length="{NINES}"/>'), 5, "length"),
    "negative length": (prop("calls", '<array class="CallUse" length="-1"/>'), 5, "length"),
    "other digits": (prop("calls", '<array class="CallUse" length="\u0661"/>'), 5, "length"),
    "wrong length": (prop("calls", '<array class="CallUse" length="2"/>'), 5, "holds 0 members"),
    "array class": (prop("calls", '<array class="java.lang.Process" length="0"/>'), 5, "Process"),
    "list class": (prop("calls", '<object class="java.lang.Runtime"/>'), 5, "Runtime"),
    "bean class": (prop("provenance", '<object class="java.lang.Runtime"/>'), 5, "Provenance"),
    "root class": (HEAD + '<object class="java.lang.ProcessBuilder"/></java>', 3, "Profile"),
    "two roots": (HEAD + '<object class="Profile"/><object class="Profile"/></java>', 2, "one"),
    "no root": (HEAD + "</java>", 2, "exactly one"),
    "other document": ("\n<project/>", 2, "project"),
    "namespace": ('<java xmlns="urn:x"/>', 1, "java"),
    "property": (prop("runtime", "<int>1</int>"), 4, "no property 'runtime'"),
    "python attribute": (prop("__class__", "<int>1</int>"), 4, "no property"),
    "snake case": (prop("number_of_sockets", "<int>1</int>"), 4, "no property"),
    "element": (prop("numberOfSockets", "<method>1</method>"), 5, "method"),
    "class element": (prop("name", "<class>java.lang.Runtime</class>"), 5, "class"),
    "attribute": (prop("numberOfSockets", '<int id="x">1</int>'), 5, "'id'"),
    "attribute of object": (bean("").replace('"Profile"', '"Profile" factory="x"'), 3, "factory"),
    "attribute of java": (bean("").replace("<java ", '<java idref="x" '), 2, "idref"),
    "method": (bean('<void method="exec"><string>sh</string></void>'), 4, "property"),
    "method in a list": (
        prop("calls", '<object class="java.util.ArrayList">\n<void method="clear"/></object>'),
        6, "add",
    ),
    "instruction": (prop("name", "<string>a\n<?php exit ?></string>"), 6, "instruction"),
    "instruction in a list": (prop("calls", "<?x y?>"), 5, "instruction"),
    "twice": (
        bean('<void property="name"><string>a</string></void>\n' * 2), 5, "given twice",
    ),
    "negative count": (prop("numberOfSockets", "<int>-1</int>"), 4, "greater than or equal to 0"),
    "negative deep inside": (
        prop("memoryAllocations", '<void index="0"><object class="MemoryAllocation">\n'
             f'{SIZE.format(-7)}</object></void>'),
        6, "MemoryAllocation block_size",
    ),
    "too large": (prop("eventsLost", f"<long>{2**63}</long>"), 5, "is no long"),
    "10,000 digits": (prop("eventsLost", f"<long>{'9' * 10_000}</long>"), 5, "is no long"),
    "10,000 digits as text": (prop("eventsLost", f"<string>{'9' * 9999}</string>"), 5, "<string>"),
    "fraction": (prop("eventsLost", "<int>1.5</int>"), 5, "is no int"),
    "other digits in a number": (prop("eventsLost", "<int>\u0661</int>"), 5, "is no int"),
    "boolean as number": (prop("eventsLost", "<boolean>true</boolean>"), 5, "<boolean>"),
    "number as text": (prop("name", "<int>1</int>"), 5, "<int>"),
    "unknown word": (
        prop("drills", '<void index="0"><object class="DrillRun">\n<void property="phase">'
             "<string>x</string></void>\n<void property=\"name\"><string>x</string></void>"
             "</object></void>"),
        6, "'boot' or 'serve'",
    ),
    "absent": (
        prop("calls", '<void index="0"><object class="CallUse"/></void>'), 5, "program",
    ),
    "members out of order": (prop("systemCalls", '<void index="7"/>'), 5, "list member 0"),
    "two values": (prop("name", "<string>a</string><string>b</string>"), 4, "exactly one"),
    "no value": (prop("name", ""), 4, "exactly one"),
    "character": (prop("name", '<string><char code="#110000"/></string>'), 5, "no character"),
    "character words": (prop("name", '<string><char code="&#35;xx"/></string>'), 5, "<char>"),
    "deep": (prop("name", "<void>" * 200 + "</void>" * 200), 5, "deeper than 24"),
    "very deep": (prop("name", "<void>" * 90_000), 5, "deeper than 24"),
    "nothing": ("", 1, "well-formed"),
    "zero bytes": ("\0" * 100, 1, "well-formed"),
    "json": ('{"format": 1}', 1, "well-formed"),
    "second encoding": (
        '<?xml version="1.0" encoding="UTF-7"?>\n+ADwAIQ-DOCTYPE j+AD4-<java/>', 2, "well-formed"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_profile(name: str, tmp_path: Path) -> None:
    text, line, reason = HOSTILE[name]
    path = tmp_path / "p.xml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_profile(path)
    assert caught.value.what.startswith(f"{path}:{line}: ")
    assert reason in caught.value.what
    assert len(caught.value.what) < 600


def test_truncated_anywhere() -> None:
    for end in range(0, len(VALID) - len("</java>\n"), 50):
        with pytest.raises(InputError, match=r"^profile:\d+: not well-formed XML: "):
            parse_profile(VALID[:end])


MUTATIONS = st.lists(st.tuples(st.integers(0, len(SMALL)), st.binary(max_size=5)), min_size=1)


@given(mutations=MUTATIONS)
@settings(max_examples=300, deadline=None)
def test_a_profile_with_changed_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, mutations: list[tuple[int, bytes]]
) -> None:
    data = SMALL.encode()
    for at, new in mutations[:6]:
        data = data[:at] + new + data[at + len(new) // 2 :]
    path = tmp_path_factory.getbasetemp() / "mutated.xml"
    path.write_bytes(data)
    refused = refusal(lambda: load_profile(path))
    assert re.match(f"{re.escape(str(path))}:\\d+: |profile .*: not UTF-8 at|$", refused)


def refusal(load: Callable[[], object]) -> str:
    """The words of an InputError; empty where none was raised. Nothing else may be."""
    try:
        load()
    except InputError as error:
        return error.what
    return ""


@given(data=st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_garbage(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(data)
    for load in (load_profile, load_hardware, read_recording):
        with pytest.raises(InputError):
            load(path)


LIMITED = """
import resource, sys, time
from pathlib import Path
from onejob.model.errors import InputError
from onejob.model.profile_xml import load_profile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_profile(Path(sys.argv[1]))
except InputError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error.what[:400])
"""


@pytest.mark.parametrize("piece", ["<a/>", "<!---->", "&amp;", "\n"])
def test_a_large_file_needs_bounded_memory(piece: str, tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    start = HEAD + '<object class="Profile"><void property="name"><string>'
    path.write_text(start + piece * (16_000_000 // len(piece)))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path], capture_output=True, text=True, timeout=120
    )
    kib, _, what = done.stdout.partition(" ")
    assert done.returncode == 0, done.stderr
    assert what.startswith(f"{path}:")
    assert int(kib) < 300 * 1024


def test_a_file_that_never_ends_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/dev/zero: larger than \d+ bytes"):
        load_hardware(Path("/dev/zero"))
    with pytest.raises(InputError, match=r"/dev/zero:1: not well-formed XML"):
        load_profile(Path("/dev/zero"))
    path = tmp_path / "spaces.xml"
    path.write_bytes(HEAD.encode() + b" " * MAX_PROFILE_BYTES)
    with pytest.raises(InputError, match=r"spaces.xml: larger than 134217728 bytes"):
        load_profile(path)


TOML: dict[str, tuple[str, str]] = {
    "deep": ("a = " + "[" * 100_000, ":1: not TOML"),
    "long number": ("\na = " + "9" * 10_000, ":1: not TOML"),
    "not closed": ('name = "a"\nx = [1,', ":2: not TOML"),
    "syntax": ('name = "a"\ncommand ["x"]\n', ":2: not TOML"),
    "twice": ('name = "a"\nname = "b"\n', ":2: not TOML"),
    "NUL": ('name = "a"\ncommand = ["a\\u0000b"]\nready = { log = "x" }', ":2: command[0]"),
    "dates": ("name = 1979-05-27\n", ":1: name"),
    "name": ('name = "../../etc"\ncommand = ["a"]\nready = { log = "x" }', ":1: name"),
    "forever": ('name="a"\ncommand=["a"]\nready = { log = "x", within = inf }', ":3: ready.within"),
    "nan": ('name="a"\ncommand=["a"]\nready = { log = "x", within = nan }', ":3: ready.within"),
}


@pytest.mark.parametrize("name", TOML)
def test_hostile_workload(name: str) -> None:
    text, words = TOML[name]
    with pytest.raises(InputError) as caught:
        parse_toml(text, Workload, "w.toml")
    assert any(line.startswith("w.toml" + words) for line in caught.value.what.splitlines())


TOML_TEXT = (Path(__file__).parents[2] / "services/nginx/workload.toml").read_text()


@given(mutations=st.lists(st.tuples(st.integers(0, len(TOML_TEXT)), st.text(max_size=4))))
@settings(max_examples=150, deadline=None)
def test_a_workload_with_changed_characters_is_read_or_refused(
    mutations: list[tuple[int, str]],
) -> None:
    text = TOML_TEXT
    for at, new in mutations:
        text = text[:at] + new + text[at + 1 :]
    for noun in (Workload, Component):
        refused = refusal(partial(parse_toml, text, noun, "w.toml"))
        assert re.match(r"w\.toml:\d+: |$", refused)


def _not_an_image(folder: Path) -> None:
    (folder / "manifest.json").write_text("[" * 100_000)


@pytest.mark.parametrize("spoil", [lambda folder: None, _not_an_image])
def test_hostile_image(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        open_image(tmp_path)
