"""The benchmark of a million facts: they are distinct, and the figures are of what it says."""

from pathlib import Path

from onejob.bench.million_run import ARGUMENTS, CALLS, FILES, measure, million
from onejob.model.profile_rules import key_getter


def test_every_fact_is_another() -> None:
    assert FILES + ARGUMENTS + CALLS == 1_000_000
    profile = million(0.02)
    for name, count in (("files", FILES), ("arguments", ARGUMENTS), ("calls", CALLS)):
        rows = getattr(profile, name)
        assert len({key_getter(type(row))(row) for row in rows}) == count * 0.02
    assert all(file.uses for file in profile.files)


def test_a_small_run_measures_everything(tmp_path: Path) -> None:
    seen = measure(tmp_path, 0.05)
    assert seen["facts"] == 50_000
    assert seen["file_bytes"] == (tmp_path / "million.profile.xml").stat().st_size
    assert seen["peak_bytes"] > seen["file_bytes"] > 1_000_000
    assert all(seen[step] > 0 for step in ("pack_s", "write_s", "read_s", "visit_s"))
