"""A real JDK and we read each other: XMLDecoder our file, we what XMLEncoder writes of beans.

The beans (tests/java) have just the paper's four properties. Three kinds: `arrays` that are set,
`reserved` arrays that are there from the beginning and filled by index (the form of the paper's
example), and `lists`.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import small_world
from house import ROOT
from onejob.bench.million_run import million
from onejob.model.profile import MemoryAllocation, Profile, SystemCall
from onejob.model.profile_grammar import TABLE_ROWS
from onejob.model.profile_xml import load_profile, parse_profile, write_profile

pytestmark = pytest.mark.jdk
JAVA = ROOT / "tests/java"
KINDS = ("arrays", "reserved", "lists")
PAPER = Profile(
    memory_allocations=(
        MemoryAllocation(block_size=1024, number_of_blocks=24),
        MemoryAllocation(block_size=2048, number_of_blocks=10),
    ),
    number_of_processes=50,
    number_of_sockets=100,
    system_calls=(SystemCall(call_name="fopen"), SystemCall(call_name="fclose")),
)
PAPER_LINES = [
    "processes 50", "sockets 100", "blocks 1024 24", "blocks 2048 10", "call fopen", "call fclose",
]  # fmt: skip
Run = Callable[..., list[str]]


def run(*words: str | Path) -> list[str]:
    """The lines that a program of the JDK prints."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``java("arrays", "Decode", path)``: a program of tests/java with one kind of beans."""
    folder = tmp_path_factory.mktemp("java")
    for kind in KINDS:
        sources = [*(JAVA / "common").glob("*.java"), *(JAVA / kind).glob("*.java")]
        run("javac", "-encoding", "UTF-8", "-d", folder / kind, *sources)
    return lambda kind, *words: run("java", "-Dfile.encoding=UTF-8", "-cp", folder / kind, *words)


def split(lines: list[str]) -> tuple[list[str], list[str]]:
    """What was decoded, and what XMLDecoder reported to its ExceptionListener."""
    reports = [line for line in lines if line.startswith("report ")]
    return [line for line in lines if line not in reports], reports


@pytest.mark.parametrize("kind", ["arrays", "reserved"])
def test_a_jdk_reads_the_papers_four_properties(kind: str, java: Run, tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    path.write_text(write_profile(PAPER))
    assert split(java(kind, "Decode", path)) == (PAPER_LINES, [])


@pytest.mark.parametrize("kind", ["arrays", "reserved"])
def test_a_jdk_reports_what_it_does_not_know_and_goes_on(
    kind: str, java: Run, tmp_path: Path
) -> None:
    profile = small_world.profile()
    path = tmp_path / "p.xml"
    path.write_text(write_profile(profile))
    decoded, reports = split(java(kind, "Decode", path))
    assert decoded == [
        f"processes {profile.number_of_processes}",
        f"sockets {profile.number_of_sockets}",
        *(f"blocks {a.block_size} {a.number_of_blocks}" for a in profile.memory_allocations),
        *(f"call {call.call_name}" for call in profile.system_calls),
    ]
    assert len(decoded) == 5
    assert any("ClassNotFoundException: Provenance" in line for line in reports)
    assert any("ClassNotFoundException: FileUse" in line for line in reports)
    assert any("NoSuchMethodException" in line for line in reports)


@pytest.mark.parametrize("kind", ["arrays", "reserved"])
def test_a_jdk_reads_the_papers_four_properties_beside_tables(
    kind: str, java: Run, tmp_path: Path
) -> None:
    large = million(TABLE_ROWS / 200_000)
    path = tmp_path / "p.xml"
    path.write_text(write_profile(PAPER.model_copy(update={"calls": large.calls})))
    assert '<object class="Table">' in path.read_text()
    decoded, reports = split(java(kind, "Decode", path))
    assert decoded == PAPER_LINES
    assert any("ClassNotFoundException: Table" in line for line in reports)


def test_beans_of_lists_cannot_take_arrays(java: Run, tmp_path: Path) -> None:
    """The numbers come through; a list would have to stand as `add` calls, which arrays lack."""
    path = tmp_path / "p.xml"
    path.write_text(write_profile(PAPER))
    decoded, reports = split(java("lists", "Decode", path))
    assert decoded == PAPER_LINES[:2]
    assert len(reports) == 2


def test_the_papers_example_is_what_a_jdk_writes_of_reserved_arrays(
    java: Run, tmp_path: Path
) -> None:
    """But for the id of the root, which XMLEncoder gives whatever it asked for a property."""
    java("reserved", "Encode", "paper", tmp_path / "p.xml")
    text = (tmp_path / "p.xml").read_text().replace(' id="Profile0"', "")
    paper = (small_world.GOLDEN / "paper.profile.xml").read_text()
    assert text[text.index("<object") :].split() == paper[paper.index("<object") :].split()
    assert split(java("reserved", "Decode", small_world.GOLDEN / "paper.profile.xml")) == (
        PAPER_LINES,
        [],
    )


@pytest.mark.parametrize("kind", KINDS)
def test_we_read_what_a_jdk_writes(kind: str, java: Run, tmp_path: Path) -> None:
    java(kind, "Encode", "paper", tmp_path / "p.xml")
    assert load_profile(tmp_path / "p.xml") == PAPER


@pytest.mark.parametrize("kind", KINDS)
def test_we_read_what_a_jdk_leaves_at_its_default(kind: str, java: Run, tmp_path: Path) -> None:
    for what in ("nothing", "nulls"):
        java(kind, "Encode", what, tmp_path / "p.xml")
        assert load_profile(tmp_path / "p.xml") == Profile()
    java(kind, "Encode", "zero", tmp_path / "p.xml")
    assert "numberOfBlocks" not in (tmp_path / "p.xml").read_text()
    assert load_profile(tmp_path / "p.xml").memory_allocations == (
        MemoryAllocation(block_size=16, number_of_blocks=0),
        MemoryAllocation(block_size=0, number_of_blocks=0),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_we_read_an_object_that_a_jdk_writes_once_and_refers_to(
    kind: str, java: Run, tmp_path: Path
) -> None:
    java(kind, "Encode", "shared", tmp_path / "p.xml")
    assert 'idref="MemoryAllocation0"' in (tmp_path / "p.xml").read_text()
    found = load_profile(tmp_path / "p.xml")
    assert found.memory_allocations == (MemoryAllocation(block_size=64, number_of_blocks=3),) * 2
    assert [call.call_name for call in found.system_calls] == ["a<b&é", "\x01\r"]


@pytest.mark.parametrize("kind", ["arrays", "reserved"])
def test_there_and_back(kind: str, java: Run, tmp_path: Path) -> None:
    """Ours, decoded by a JDK, encoded by it, is ours again."""
    path = tmp_path / "p.xml"
    path.write_text(write_profile(PAPER))
    java(kind, "Encode", path, tmp_path / "q.xml")
    assert parse_profile((tmp_path / "q.xml").read_text()) == PAPER
