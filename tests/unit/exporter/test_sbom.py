"""Bills of materials: valid, the same each time, with hashes of files and licences of packages."""

from pathlib import Path

import pytest

from onejob.builder.licences import licences_in, package_licences

DEP5 = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 1995 somebody
License: Zlib

Files: debian/*
License: GPL-2+
 This is the text.
 License: not a field

License: Zlib
 The text.
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (DEP5, ("GPL-2+", "Zlib")),
        ("See /usr/share/common-licenses/LGPL-2.1.\n", ("LGPL-2.1",)),
        ("License:\n", ()),
        ("", ()),
    ],
)
def test_licences_are_those_of_the_copyright_file(text: str, found: tuple[str, ...]) -> None:
    assert licences_in(text) == found


def test_each_package_has_a_line_also_one_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "zlib1g").mkdir()
    (tmp_path / "zlib1g/copyright").write_text(DEP5)
    found = list(package_licences(["zlib1g", "absent", "zlib1g"], tmp_path))
    assert [(each.package, each.licences) for each in found] == [
        ("absent", ()), ("zlib1g", ("GPL-2+", "Zlib"))
    ]  # fmt: skip
