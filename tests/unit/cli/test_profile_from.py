"""``onejob profile --from``: one source, and a profile that the other verbs can work with."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onejob.cli.main import app
from onejob.model.errors import InputError
from onejob.model.profile_xml import load_profile

GOLDEN = Path(__file__).resolve().parents[2] / "golden/imports"


def inside(*words: object) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in words], prog_name="onejob")
    if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("imported") / "nginx.xml"
    done = inside("profile", "--from", GOLDEN / "nginx.strace", "-o", output)
    assert done.exit_code == 0
    assert "note: partial: imported from strace:" in done.stdout
    assert done.stdout.rstrip().endswith(f"merge DRILLED.profile.xml {output} -o ALL.profile.xml")
    return output


WRONG = [[], ["--workload", "a", "--from", "b"], ["--workload", "a", "--program", "/b"]]


@pytest.mark.parametrize("words", WRONG)
def test_there_is_exactly_one_thing_to_profile(words: list[str]) -> None:
    assert inside("profile", *words).exit_code == 2


def test_it_is_explained_with_what_it_lacks(imported: Path) -> None:
    told = inside("explain", imported).stdout
    assert "127.0.0.1 18080" in told
    assert "note: partial: imported from strace:" in told
    assert "imported" in inside("explain", imported, "accept4").stdout


def test_it_is_compared_and_merged(imported: Path, tmp_path: Path) -> None:
    other, both = tmp_path / "other.xml", tmp_path / "both.xml"
    words = ["--from", GOLDEN / "known-s.perf", "--program", "/usr/sbin/nginx"]
    assert inside("profile", *words, "-o", other).exit_code == 0
    assert "getppid" in inside("diff", imported, other).stdout
    assert inside("merge", imported, other, "-o", both).exit_code == 0
    merged = load_profile(both)
    assert merged.provenance is not None
    assert merged.provenance.backend == "import"
    assert len(merged.provenance.sources) == 2
    assert "imported from perf trace" in merged.provenance.partial
    assert "imported from strace" in merged.provenance.partial


def test_a_plan_refuses_it(imported: Path) -> None:
    with pytest.raises(InputError, match="no workload"):
        inside("plan", imported)


def test_what_was_seen_on_windows_is_explained_but_not_planned(tmp_path: Path) -> None:
    log, output = tmp_path / "log.csv", tmp_path / "nginx.xml"
    columns = "Process Name", "PID", "Operation", "Path", "Result", "Detail", "Image Path"
    access = "Desired Access: Generic Read, Disposition: Open"
    values = (
        "nginx.exe",
        "7",
        "CreateFile",
        "C:\\nginx\\a b.conf",
        "SUCCESS",
        access,
        "C:\\nginx.exe",
    )
    log.write_text(
        "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in (columns, values))
    )
    done = inside("profile", "--from", log, "-o", output)
    assert done.exit_code == 0
    assert done.stdout.rstrip().endswith(f"next: onejob explain {output}")
    assert "note: partial: imported from Process Monitor:" in inside("explain", output).stdout
    for words in ([], ["--accept-lost-events"]):
        with pytest.raises(InputError, match=r"on Windows; a plan is for Linux, where C:.*not run"):
            inside("plan", output, *words)
