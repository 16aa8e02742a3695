"""workload.toml: the gallery's files, refusals with the right line, variables, order of drills."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onejob.model.errors import InputError
from onejob.model.tomlfile import parse_toml
from onejob.model.tomllines import key_lines
from onejob.model.workload import (
    Workload,
    check_variables,
    fill,
    load_workload,
    workload_text,
)

ROOT = Path(__file__).resolve().parents[3]
GALLERY = sorted((ROOT / "services").glob("*/workload.toml"))
SHORT = 'name = "a"\ncommand = ["a"]\nready = { log = "x" }\nports = [80]\n'


def parse(text: str) -> Workload:
    return parse_toml(text, Workload, "w.toml")


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text)
    return caught.value.what


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: str(path.parent.name))
def test_the_gallery_is_readable(path: Path) -> None:
    workload = load_workload(path)
    names = [drill.name for drill in workload.drills()]
    assert workload.name == path.parent.name
    assert (names[0], names[-1]) == ("start", "stop")


def test_the_gallerys_nginx() -> None:
    workload = load_workload(ROOT / "services/nginx/workload.toml")
    assert workload.command == ("nginx", "-g", "daemon off;")
    assert workload.stop.signal == "QUIT"
    assert [drill.name for drill in workload.drill] == [
        "start", "serve", "reload", "rotate-logs", "crash", "error-paths", "stop",
    ]  # fmt: skip
    assert [command.prints for command in workload.drill[5].run] == ["404", "400", "405", "413"]
    assert workload.drill[3].expect.files[1].lacks == "{nonce}"
    assert workload.drill[6].in_flight is not None


FULL = """\
name = "full"
command = [
  "a",
]
ports = [80]

[ready]
log = "x"
within = 5

[stop]
signal = "TERM"

[environment]
A = "b"

[[drill]]
name = "one"
run = [
  { command = ["x"], prints = "]" },   # not the end: ]
  { command = ["y"] },
]

[[drill]]
name = "two"
inside = [
  ["rename", "/a", "/b"],
  ["remove", "/c"],
]
in_flight = { http = "http://{address:80}/" }
[drill.expect]
request = "http://{address:80}/"
files = [
  { path = "/x", contains = '''
[drill]
''' },
  { path = "/y" },
]

[[drill]]
name = "three"
[[drill.run]]
command = ["z"]
[[drill.run]]
command = ["z"]
status = 1
"""


def line_after(marker: str) -> int:
    return FULL[: FULL.index(marker)].count("\n") + 1


# Each: a piece of FULL -> what it becomes (with an unknown key in it), the place named.
UNKNOWN = {
    "top": ("ports = [80]", "port = 80", "port"),
    "ready": ("within = 5", "witin = 5", "ready.witin"),
    "stop": ('signal = "TERM"', 'sig = "TERM"', "stop.sig"),
    "drill": ('name = "two"', 'name = "two"\nnmae = 1', "drill[1].nmae"),
    "command": ('{ command = ["y"] }', '{ command = ["y"], x = 1 }', "drill[0].run[1].x"),
    "in_flight": ('{ http = "http', '{ h = 1, http = "http', "drill[1].in_flight.h"),
    "expect": ('request = "http', 'reqest = "http', "drill[1].expect.reqest"),
    "file": ('{ path = "/y" }', '{ path = "/y", has = "z" }', "drill[1].expect.files[1].has"),
    "second run": ("status = 1", "stat = 1", "drill[2].run[1].stat"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_key_is_refused_where_it_stands(name: str) -> None:
    old, new, place = UNKNOWN[name]
    line = line_after(old) + new.count("\n")
    assert f"w.toml:{line}: {place}: unknown key" in refusal(FULL.replace(old, new, 1)).splitlines()


# Each: a piece -> a value of a wrong type or range, the place named.
WRONG = {
    "name": ('name = "full"', 'name = "Full"', "name"),
    "number as name": ('name = "full"', "name = 5", "name"),
    "command as text": ('command = [\n  "a",\n]', 'command = "a"', "command"),
    "empty command": ('command = [\n  "a",\n]', "command = []", "command"),
    "port as text": ("ports = [80]", 'ports = ["80"]', "ports[0]"),
    "port as fraction": ("ports = [80]", "ports = [80.0]", "ports[0]"),
    "port 0": ("ports = [80]", "ports = [0]", "ports[0]"),
    "within as text": ("within = 5", 'within = "5"', "ready.within"),
    "within as boolean": ("within = 5", "within = true", "ready.within"),
    "signal": ('signal = "TERM"', 'signal = "SIGTERM"', "stop.signal"),
    "number in environment": ('A = "b"', "A = 1", "environment.A"),
    "inside verb": ('["remove", "/c"]', '["delete", "/c"]', "drill[1].inside"),
    "inside too few": ('["rename", "/a", "/b"]', '["rename", "/a"]', "drill[1].inside"),
    "inside relative": ('["remove", "/c"]', '["remove", "c"]', "drill[1].inside"),
    "path relative": ('path = "/y"', 'path = "y"', "drill[1].expect.files[1].path"),
    "relative folder": ("ports = [80]", 'folders = [{ path = "run" }]', "folders[0].path"),
    "folder's mode": (
        "ports = [80]",
        'folders = [{ path = "/r", mode = "755" }]',
        "folders[0].mode",
    ),
    "user": ("ports = [80]", 'user = "a:b"', "user"),
    "status": ("status = 1", "status = 256", "drill[2].run[1].status"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_refused_where_it_stands(name: str) -> None:
    old, new, place = WRONG[name]
    text = FULL.replace(old, new, 1)
    line = line_after("inside =" if place.endswith("inside") else old)
    assert f"w.toml:{line}: {place}: " in refusal(text)


def test_the_full_workload_is_readable() -> None:
    workload = parse(FULL)
    assert workload.drill[1].inside == (("rename", "/a", "/b"), ("remove", "/c"))
    assert [command.status for command in workload.drill[2].run] == [0, 1]


def test_short_forms_mean_the_same_as_long_ones() -> None:
    def drill(run: str, inside: str) -> object:
        return parse(f'{SHORT}[[drill]]\nname = "d"\nrun = {run}\ninside = {inside}\n').drill[0]

    short = drill('["x", "y"]', '["remove", "/c"]')
    assert short == drill('[["x", "y"]]', '[["remove", "/c"]]')
    assert short == drill('{ command = ["x", "y"] }', '[["remove", "/c"]]')
    assert short == drill('[{ command = ["x", "y"] }]', '[["remove", "/c"]]')


def drills(*names: str) -> str:
    return SHORT + "".join(f'[[drill]]\nname = "{name}"\n' for name in names)


def test_start_and_stop_are_added() -> None:
    assert [drill.name for drill in parse(drills("x")).drills()] == ["start", "x", "stop"]
    assert [drill.name for drill in parse(drills("start", "stop")).drills()] == ["start", "stop"]
    assert [drill.name for drill in parse(SHORT).drills()] == ["start", "stop"]


CONTRADICTIONS = {
    "start second": (drills("x", "start"), "start must come first"),
    "stop early": (drills("stop", "x"), "stop must come last"),
    "same name": (drills("x", "x"), "same name"),
    "stop with signal": (drills("stop") + 'signal = "HUP"\n', "takes its signal from"),
    "two ways": (SHORT.replace("log", 'http = "http://a/", log'), "exactly one of"),
    "no way": (SHORT.replace('log = "x"', "within = 1"), "exactly one of"),
    "relative include": (SHORT + 'include = ["www"]', "absolute path"),
    "upward include": (SHORT + 'include = ["/www/../etc"]', "absolute path"),
    "relative command": (SHORT.replace('["a"]', '["bin/a"]'), "must be absolute or found in PATH"),
    "dotted command": (SHORT.replace('["a"]', '["./a"]'), "must be absolute or found in PATH"),
    "unknown variable": (drills("x") + 'run = ["a", "{port}"]', "unknown variable"),
    "unlisted port": (drills("x") + 'run = ["a", "{address:81}"]', "81 is not in ports"),
    "unlisted tcp": (SHORT.replace('log = "x"', "tcp = 81"), "81 is not in ports"),
    "nonce with argument": (drills("x") + 'run = ["a", "{nonce:1}"]', "unknown variable"),
    "upward folder": (SHORT + 'folders = [{ path = "/run/../etc" }]', "absolute path"),
    "unlisted port's host": (drills("x") + 'run = ["a", "{host:81}"]', "81 is not in ports"),
    "variable in what is expected": (
        drills("x") + 'run = { command = ["a"], contains = "{x}" }', "unknown variable",
    ),
    "variable in an expected command": (
        drills("x") + 'expect = { run = { command = ["a"], prints = "{x}" } }', "unknown variable",
    ),
    "variable in a file check": (
        drills("x") + 'expect = { files = [{ path = "/a", lacks = "{x}" }] }', "unknown variable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_refused(name: str) -> None:
    text, words = CONTRADICTIONS[name]
    assert re.match(rf"w\.toml:\d+: .*{words}", refusal(text))


def test_variables() -> None:
    addresses = {80: "127.0.0.1:8080", 443: "h:1"}
    assert fill("http://{address:80}/?{nonce}", addresses, "n1") == "http://127.0.0.1:8080/?n1"
    assert fill("-h {host:80} -p {port:80}", addresses, "n1") == "-h 127.0.0.1 -p 8080"
    assert fill("{host:80}", {80: "[::1]:8080"}, "n1") == "::1"
    assert fill("%{http_code} {address:443}", addresses, "n1") == "%{http_code} h:1"
    check_variables('{"json": [1]} {} {A}', (), "here")  # braces that name nothing
    with pytest.raises(ValueError, match="here: unknown variable"):
        check_variables("{what}", (), "here")


def test_here_is_the_folder_of_the_file_and_kept_so(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    text = SHORT + 'include = ["{here}/app"]\n' + drills("x").removeprefix(SHORT)
    (tmp_path / "w.toml").write_text(text + 'run = ["curl", "-w", "%{here}"]\n')
    kept = workload_text(tmp_path / "link/w.toml")
    workload = parse(kept)
    assert workload.include == (f"{tmp_path}/app",)
    assert workload.drill[0].run[0].command == ("curl", "-w", "%{here}")
    assert load_workload(tmp_path / "w.toml") == workload


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "{nonce}"])
def test_a_folder_that_would_break_the_file_is_refused_as_here(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "w.toml").write_text(SHORT)
    load_workload(folder / "w.toml")  # no matter where it is not asked for
    (folder / "w.toml").write_text(SHORT + 'directory = "{here}"\n')
    with pytest.raises(InputError, match="which has characters that TOML or variables use"):
        load_workload(folder / "w.toml")


def places(value: object, at: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    """Every place in a TOML value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
    found = {at} if at else set()
    if isinstance(value, dict | list):
        for key, item in items:
            found |= places(item, (*at, key)) if isinstance(item, dict | list) else {(*at, key)}
    return found


@pytest.mark.parametrize("path", [*GALLERY, *sorted((ROOT / "components").glob("*.toml"))])
def test_every_place_has_a_line(path: Path) -> None:
    text = path.read_text()
    lines = key_lines(text)
    for place in places(tomllib.loads(text)):
        key = next(part for part in reversed(place) if isinstance(part, str))
        assert key in text.splitlines()[lines[place] - 1] or isinstance(place[-1], int)


KEYS = st.from_regex(r"\A[a-z]{1,3}\Z")
TEXTS = st.text(alphabet="a#[]{}=,.'\n ", max_size=8)


@given(pairs=st.lists(st.tuples(KEYS, TEXTS), max_size=6, unique_by=lambda pair: pair[0]))
@settings(max_examples=200, deadline=None)
def test_what_stands_in_texts_is_no_key(pairs: list[tuple[str, str]]) -> None:
    text, lines = "[t]\n", {("t",): 1}
    for key, value in pairs:
        lines["t", key] = text.count("\n") + 1
        text += f'{key} = """\n{value}"""\n'
    tomllib.loads(text)
    assert key_lines(text) == lines
