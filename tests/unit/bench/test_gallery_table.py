"""The gallery's rehearsals as a promise and as a table; what was measured of an image is kept."""

from pathlib import Path

import pytest

from onejob.base.progress import Quiet
from onejob.bench.gallery import measure
from onejob.bench.gallery.measure import Rehearsed, Row, judge_gallery, rehearse_gallery
from onejob.bench.gallery.page import HEADS, cells_of
from onejob.bench.tables import replace_table
from onejob.model.image import KERNEL, ROOT, open_image
from onejob.model.jsonfile import to_json
from some_images import make_image

PASSED = Rehearsed(found="", requests=1234, denials=0)
FAILED = Rehearsed(found="drill stop", requests=0, denials=2)


def row(service: str, guest: Rehearsed = PASSED, options: str = "x") -> Row:
    return Row(
        service=service, root="0", kernel="1", kernel_options=options, calls=70, files=43,
        bytes=6_440_000, memory_mib=32, host=PASSED, guest=guest,
    )  # fmt: skip


def test_a_rehearsal_that_fails_is_counted_and_kernels_are_counted_once() -> None:
    [result] = judge_gallery((row("a"), row("b", FAILED), row("c", options="y")))
    assert (result.measured, result.passed) == (1, False)
    assert (result.values[0].name, result.values[0].value) == ("kernels", 2)


def test_a_line_for_each_service_in_the_place_of_the_old_ones() -> None:
    page = "before\n<!-- table: it -->\n\nold\n\n<!-- end of the table -->\nafter\n"
    made = replace_table(page, "it", HEADS, [cells_of(row("a")), cells_of(row("b", FAILED))])
    assert made.startswith("before\n<!-- table: it -->\n\n| service | calls |")
    assert (
        "| a | 70 | 43 | 6.44 MB | 32 MiB | passes, 1,234 requests | passes, 1,234 requests | 0 |\n"
        "| b | 70 | 43 | 6.44 MB | 32 MiB | passes, 1,234 requests |"
        " does not pass: drill stop | 2 |\n"
        "\n<!-- end of the table -->\nafter\n"
    ) in made
    assert replace_table(made, "it", HEADS, []).count("\n| ") == 2


def test_what_was_measured_of_an_image_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, kept = tmp_path / "services", tmp_path / "kept"
    (services / "keeper").mkdir(parents=True)
    (services / "keeper/workload.toml").touch()
    kept.mkdir()
    image = open_image(make_image(kept / "keeper.onejob", kernel=b"kernel"))
    found = {each.name: each.sha256 for each in image.manifest.contents}
    monkeypatch.setattr(measure, "data_path", lambda _: services)
    monkeypatch.setattr(measure, "rehearse_both", lambda *_: row("anew"))
    hashes = {"root": found[ROOT], "kernel": found[KERNEL]}
    (kept / "keeper.row.json").write_text(to_json(row("before").model_copy(update=hashes)))
    assert [each.service for each in rehearse_gallery(kept, Quiet())] == ["before"]
    (kept / "keeper.row.json").write_text(to_json(row("another image's")))
    assert [each.service for each in rehearse_gallery(kept, Quiet())] == ["anew"]
