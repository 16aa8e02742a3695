"""Imports of small applications: what no run reached is found, what is computed is said."""

import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onejob.model.profile import FileUse, How, Unfollowed, Use
from onejob.profiler.static.imports import Imports
from onejob.profiler.static.java_archives import java_archives
from onejob.profiler.static.names import Found, Named, View
from onejob.profiler.static.node_modules import node_modules, scan_script
from onejob.profiler.static.perl_modules import perl_modules, scan_perl
from onejob.profiler.static.python_modules import python_modules, scan_python

Search = Callable[[View], Iterator[Found]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEJOB_CACHE", str(tmp_path / "cache"))


def write(folder: Path, **texts: str) -> None:
    """Files by name, in which ``__`` stands for a folder and ``_dot_`` for a dot."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def use(path: Path, how: How) -> FileUse:
    kind = "directory" if path.is_dir() else "file" if path.exists() else "missing"
    row = Use(program="/usr/bin/x", drill="start", how=how, count=1)
    return FileUse.model_validate({"path": str(path), "kind": kind, "uses": (row,)})


def search(what: Search, folder: Path, *uses: FileUse) -> tuple[set[str], list[str]]:
    """The paths below `folder` that are named, and the notes, without the folder."""
    view = View({file.path: file for file in uses}, {}, {}, "/usr/bin/x")
    found = list(what(view))
    paths = {item.path for item in found if isinstance(item, Named)}
    inside = {path.removeprefix(f"{folder}/") for path in paths if path.startswith(f"{folder}/")}
    notes = [item for item in found if isinstance(item, Unfollowed)]
    return inside, [f"{Path(note.object).name}: {note.reason}" for note in notes]


def names(imports: Imports, *, at_load: bool = True) -> set[str]:
    return {row.name for row in imports.imports if row.at_load == at_load}


# --- Python --------------------------------------------------------------------------------------


def test_an_import_in_a_handler_that_never_ran_is_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        app_dot_py="def serve():\n try:\n  pass\n except OSError:\n  import rescue.kit\n",
        rescue____init___dot_py="",
        rescue__kit_dot_py="from . import plaster\nfrom .. import nothing\n",
        rescue__plaster_dot_py="def late():\n    import later\n",
        later_dot_py="",
        unrelated_dot_py="",
    )
    (tmp_path / "rescue/__init__.py").write_text("")
    paths, notes = search(
        python_modules, tmp_path, use(tmp_path, "listed"), use(tmp_path / "app.py", "read")
    )
    assert paths == {"rescue/__init__.py", "rescue/kit.py", "rescue/plaster.py"}
    assert notes == ["x: 1 imports in functions of Python modules that nobody was seen to load"]


def test_compiled_modules_and_native_ones_are_named(tmp_path: Path) -> None:
    write(tmp_path, a_dot_py="import b, c, d\n", b_dot_py="")
    cached = tmp_path / "__pycache__"
    cached.mkdir()
    for name in ("a.cpython-311", "b.cpython-311", "b.cpython-310"):
        (cached / f"{name}.pyc").write_bytes(b"\0")
    for name in ("c.cpython-311-x86_64-linux-gnu.so", "d.abi3.so", "c.cpython-39-x.so"):
        (tmp_path / name).write_bytes(b"\0")
    paths, _ = search(
        python_modules, tmp_path, use(tmp_path, "listed"), use(cached / "a.cpython-311.pyc", "read")
    )
    assert paths == {
        "b.py", "__pycache__/b.cpython-311.pyc", "c.cpython-311-x86_64-linux-gnu.so", "d.abi3.so",
    }  # fmt: skip


def test_names_of_run_time_are_said_with_their_line(tmp_path: Path) -> None:
    write(tmp_path, a_dot_py="import importlib\nname = 'b'\nimportlib.import_module(name)\n")
    _, notes = search(python_modules, tmp_path, use(tmp_path / "a.py", "read"))
    assert notes == ["a.py: imports a computed name in line 3"]


def test_constant_names_and_codecs_are_imports() -> None:
    found = scan_python(
        "importlib.import_module('a.b')\n__import__('c')\n'x'.encode('latin-1')\n"
        "open(p, encoding='UTF-16')\nd = lambda: entry_points('x')\n"
    )
    assert {"a.b", "c", "encodings.latin_1", "encodings.utf_16"} <= names(found) | {
        name.replace("iso8859_1", "latin_1") for name in names(found)
    }
    assert found.computed == (5,)


def test_branches_for_type_checkers_other_systems_and_direct_runs_are_left() -> None:
    text = (
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "if sys.platform == 'win32':\n    import c\n"
        "if __name__ == '__main__':\n    import d\n"
        "if sys.version_info > (3, 9):\n    import e\n"
    )
    assert names(scan_python(text)) == {"b", "e"}


def test_a_text_that_is_no_python_is_said(tmp_path: Path) -> None:
    write(tmp_path, a_dot_py="import (\n")
    _, notes = search(python_modules, tmp_path, use(tmp_path / "a.py", "read"))
    assert notes == ["a.py: its Python is not understood: SyntaxError"]


# --- Perl ----------------------------------------------------------------------------------------

PERL = """\
package App::Main;
use strict;
use parent -norequire, 'App::Base';
use App::Tool qw(a b);
=pod

use App::Documented;

=cut
sub fails { require App::Rescue; require "app/old.pl"; }
sub computed { my $name = shift; eval "require $name"; require $name; }
my %h = (require => 1, use => 2);  # use App::Comment;
1;
__END__
use App::After;
"""


def test_perl_modules_are_found_beside_the_observed_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        App__Main_dot_pm=PERL,
        App__Base_dot_pm="package App::Base; require XSLoader; 1;\n",
        App__Tool_dot_pm="package App::Tool;\nsub late {\n    require App::Later;\n}\n1;\n",
        App__Rescue_dot_pm="1;",
        App__Later_dot_pm="1;",
        App__Documented_dot_pm="1;",
        App__After_dot_pm="1;",
        App__Comment_dot_pm="1;",
        app__old_dot_pl="1;",
        auto__App__Base__Base_dot_so="",
    )
    paths, notes = search(perl_modules, tmp_path, use(tmp_path / "App/Main.pm", "read"))
    assert paths == {
        "App/Base.pm", "App/Tool.pm", "App/Rescue.pm", "app/old.pl", "auto/App/Base/Base.so",
    }  # fmt: skip
    assert "Main.pm: imports a computed name in line 11" in notes
    assert "x: 1 imports in functions of Perl modules that nobody was seen to load" in notes


def test_perl_agrees_about_what_a_real_module_uses() -> None:
    path = Path("/usr/share/perl/5.36/IO/Socket/INET.pm")
    if not path.exists():
        path = next(Path("/usr").glob("lib/x86_64-linux-gnu/perl*/**/IO/Socket/INET.pm"))
    found = names(scan_perl(path.read_text()))
    assert {"IO::Socket", "Socket", "Carp", "Exporter", "Errno"} <= found


# --- Node ----------------------------------------------------------------------------------------

SCRIPT = """\
'use strict';
// require('./commented');
const http = require('http'), plain = require("plain");
import scoped from '@team/scoped/inner.js';
export { x } from './own.mjs';
function fails(error) { require('./rescue').report(error); import('./later.mjs'); }
const glob = 'src/**/*.js';
require(name); require(`./${name}`);
"""


def test_node_modules_are_resolved_as_node_does(tmp_path: Path) -> None:
    write(
        tmp_path,
        app__server_dot_js=SCRIPT,
        app__own_dot_mjs="",
        app__later_dot_mjs="",
        app__rescue__index_dot_js="require('../data.json');",
        app__data_dot_json="{}",
        node_modules__plain__package_dot_json='{"main": "lib/start"}',
        node_modules__plain__lib__start_dot_js="require('deep');",
        node_modules__plain__lib__unused_dot_js="",
        node_modules__plain__node_modules__deep__index_dot_js="require('./native');",
        node_modules__plain__node_modules__deep__native_dot_node="",
    )
    scoped = tmp_path / "node_modules/@team/scoped"
    (scoped / "dist").mkdir(parents=True)
    (scoped / "package.json").write_text(
        '{"exports": {".": "./dist/main.js", "./*.js": {"browser": "./dist/web-*.js",'
        ' "node": {"import": "./dist/*.mjs", "default": "./dist/*.cjs"}}, "./x": "../../out.js"}}'
    )
    for name in ("inner.mjs", "inner.cjs", "web-inner.js", "main.js"):
        (scoped / "dist" / name).write_text("")
    paths, notes = search(node_modules, tmp_path, use(tmp_path / "app/server.js", "read"))
    assert paths == {
        "app/own.mjs", "app/later.mjs", "app/rescue/index.js", "app/data.json",
        "node_modules/plain/package.json", "node_modules/plain/lib/start.js",
        "node_modules/plain/node_modules/deep/index.js",
        "node_modules/plain/node_modules/deep/native.node",
        "node_modules/@team/scoped/package.json", "node_modules/@team/scoped/dist/inner.mjs",
        "node_modules/@team/scoped/dist/inner.cjs",
    }  # fmt: skip
    assert notes == ["server.js: imports a computed name in line 8"]


def test_what_a_package_exports_stays_in_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_dot_js="require('p/x'); require('p/../../out')",
        node_modules__p__package_dot_json='{"exports": {"./x": "../../out.js"}}',
        out_dot_js="",
    )
    paths, _ = search(node_modules, tmp_path, use(tmp_path / "a.js", "read"))
    assert paths == {"node_modules/p/package.json"}


def test_minified_text_is_read_in_time() -> None:
    assert scan_script("import{" + "a," * 200_000 + "};" + "x" * 500_000).imports == ()


# --- Java ----------------------------------------------------------------------------------------


def make_archive(path: Path, manifest: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        if manifest:
            archive.writestr("META-INF/MANIFEST.MF", manifest)


def test_archives_of_class_paths_and_libraries_of_the_machine_are_named(tmp_path: Path) -> None:
    write(
        tmp_path, jdk__lib__modules="", jdk__lib__libnet_dot_so="", jdk__lib__security__cacerts="",
        jdk__conf__net_dot_properties="", jdk__lib__src_dot_zip="",
    )  # fmt: skip
    manifest = "Manifest-Version: 1.0\r\nClass-Path: lib/on\r\n e.jar lib/two%20.jar gone.jar\r\n"
    make_archive(tmp_path / "app.jar", manifest)
    for name in ("lib/one.jar", "lib/two .jar", "lib/three.jar", "wild/w.jar"):
        make_archive(tmp_path / name)
    (tmp_path / "broken.jar").write_text("no archive")
    machine = use(tmp_path / "jdk/lib/modules", "mapped")
    seen = (use(tmp_path / "app.jar", "read"), use(tmp_path / "wild", "listed"))
    broken = use(tmp_path / "broken.jar", "read")
    paths, notes = search(java_archives, tmp_path, machine, *seen, broken)
    files = {path for path in paths if (tmp_path / path).is_file()}
    assert files == {
        "lib/one.jar", "lib/two .jar", "wild/w.jar", "jdk/lib/libnet.so",
        "jdk/lib/security/cacerts", "jdk/conf/net.properties",
    }  # fmt: skip
    assert notes == ["broken.jar: its manifest was not read: File is not a zip file"]
    assert search(java_archives, tmp_path, *seen) == (set(), [])  # archives, but nobody's


# --- all -----------------------------------------------------------------------------------------


def test_the_languages_agree_with_us(tmp_path: Path) -> None:
    """What we say is imported on an error path is what the interpreter loads on it."""
    write(tmp_path, app_dot_py="def f():\n    import traceback, rescue\n", rescue_dot_py="")
    run = "import app, sys; app.f(); print(sys.modules['rescue'].__file__)"
    done = subprocess.run(
        ["python3", "-c", run], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    paths, _ = search(
        python_modules, tmp_path, use(tmp_path, "listed"), use(tmp_path / "app.py", "read")
    )
    assert {str(tmp_path / path) for path in paths} == {done.stdout.strip()}
