"""apt's configuration, read in both of its forms."""

from pathlib import Path

import pytest

from onejob.bench.sources import Source, find_source, parse_lines, parse_stanzas
from onejob.model.errors import LacksError

DEB822 = """\
Types: deb deb-src
# kept at http://old.example/
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/example.gpg

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm
Components: main
"""
LINES = """\
# deb http://old.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main non-free # ours
deb http://flat.example/ ./
deb
"""
KEY = "/usr/share/keyrings/example.gpg"


def test_stanzas_are_read() -> None:
    assert list(parse_stanzas(DEB822)) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib"), KEY),
        Source("http://mirror.example/debian", "bookworm-updates", ("main", "contrib"), KEY),
    ]


def test_lines_are_read() -> None:
    assert list(parse_lines(LINES)) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "non-free"), "/k.gpg"),
        Source("http://flat.example/", "./", ()),
    ]


def test_a_key_that_is_no_file_is_left_to_the_default() -> None:
    text = DEB822.replace(KEY, "\n -----BEGIN PGP PUBLIC KEY BLOCK-----")
    assert next(parse_stanzas(text)).keyring == ""


def test_the_first_source_of_the_release_with_main_is_found(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "a.list").write_text("deb http://extra.example/ bookworm contrib\n")
    (parts / "b.sources").write_text(DEB822)
    (parts / "c.list.disabled").write_text("deb http://off.example/ bookworm main\n")
    assert find_source("bookworm", tmp_path).uri == "http://mirror.example/debian"
    (tmp_path / "sources.list").write_text("deb http://first.example/ bookworm main\n")
    assert find_source("bookworm", tmp_path).uri == "http://first.example/"


@pytest.mark.parametrize(
    "line", ["", "deb cdrom:[Debian]/ bookworm main", "deb http://x/ sid main"]
)
def test_no_source_is_an_error_that_says_what_to_do(tmp_path: Path, line: str) -> None:
    (tmp_path / "sources.list").write_text(line + "\n")
    with pytest.raises(LacksError, match="no source of bookworm") as raised:
        find_source("bookworm", tmp_path)
    assert str(tmp_path) in raised.value.hint
