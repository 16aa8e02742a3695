"""The rules of the house: who may import whom, how long things are, that words match everywhere."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from house import (
    PACKAGE,
    ROOT,
    functions_of,
    imports_of,
    project_files,
    python_files,
    rooms_imported,
    syntax,
    table_rows,
)
from onejob.builder.kernel_make import BUILD_TOOLS
from onejob.model import errors, workload
from onejob.model.component import load_components
from onejob.model.noun import Noun
from onejob.model.syscalls import call_name, known_calls

EVERYTHING = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
# What each room may import. A new room needs a line here, and a good reason for a long one.
MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "base": {"model"},
    "drive": {"model", "base"},
    "profiler": {"model", "base", "drive"},
    "survey": {"model", "base"},
    "disk": {"model", "base"},
    "exporter": {"model", "base", "disk"},
    "planner": {"model"},
    "builder": {"model", "base"},
    "repository": {"model", "base"},
    # It conducts the whole way from a repository to a disk, on a machine that has nothing else.
    "installer": {"model", "base", "planner", "builder", "repository", "disk"},
    "system": {"model", "base", "drive"},
    "report": {"model", "base"},
    "exokernel": set(),
    "cli": EVERYTHING,
    "bench": EVERYTHING,
}
# Same input, same plan: no files, no processes, no clock, no chance.
IMPURE = {
    "ctypes", "datetime", "glob", "http", "io", "mmap", "os", "pathlib", "platform", "random",
    "secrets", "shutil", "signal", "socket", "subprocess", "tempfile", "threading", "time",
    "urllib", "uuid",
}  # fmt: skip
IMPORT_NAMES = {  # distribution -> module, where they differ
    "annotated-types": "annotated_types", "prometheus-client": "prometheus_client",
    "cyclonedx-python-lib": "cyclonedx", "packageurl-python": "packageurl",
    "pyelftools": "elftools",
}  # fmt: skip
SKIPS = {"skip", "skipif", "xfail"}
CODE = (".py", ".rs", ".c", ".h")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
UNISTD = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
# Absolute paths of somebody's home or build folder; /home and /root alone are a system's own.
WORKPLACE = re.compile(
    r"(?<![\w.}>*-])/(?:work|workspace|Users|builds?|usr/src/app)/[\w.]"
    r"|(?<![\w.}>*-])/(?:root|home/\w+)/(?:\.(?:cargo|cache|pyenv|rustup|local)|src|work|\w*repo)"
    r"|/tmp/(?:w|target-\w+)(?:/|\b(?!-))"
)


def pyproject() -> dict[str, dict[str, dict[str, dict[str, list[str]]]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def verbs() -> set[str]:
    """The verbs of the command line, as it declares them itself."""
    import typer

    from onejob.cli.main import app

    command = typer.main.get_command(app)
    return set(getattr(command, "commands", {}))


@pytest.mark.parametrize("room", sorted(EVERYTHING))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert room in MAY_IMPORT, f"room {room} is new: say in MAY_IMPORT what it may import"
    allowed = {room, *MAY_IMPORT[room]}
    used = [pair for file in python_files(PACKAGE / room) for pair in rooms_imported(file)]
    assert not [str(found) for other, found in used if other not in allowed]


def test_the_planner_does_no_io() -> None:
    for file in python_files(PACKAGE / "planner"):
        for found in imports_of(file):
            pure_paths = found.module == "pathlib" and set(found.names) <= {"PurePosixPath"}
            assert found.module.split(".")[0] not in IMPURE or pure_paths, str(found)
        names = {node.id for node in ast.walk(syntax(file)) if isinstance(node, ast.Name)}
        assert not names & {"open", "print", "input"}, f"{file.name} does I/O"


def test_only_cli_and_bench_print_or_exit() -> None:
    for file in python_files():
        text = file.read_text()
        program = '__name__ == "__main__"' in text  # started on its own, by another file of ours
        if file.relative_to(PACKAGE).parts[0] not in {"cli", "bench"} and not program:
            names = {node.id for node in ast.walk(syntax(file)) if isinstance(node, ast.Name)}
            assert not names & {"print", "exit"}, f"{file.relative_to(ROOT)} prints or exits"
            assert "sys.exit" not in text, f"{file.relative_to(ROOT)} exits"


def test_what_is_imported_is_declared() -> None:
    """A wheel that was installed by its own dependencies alone has to work."""
    words = [re.split(r"[><=~!\[ ]", d)[0] for d in pyproject()["project"]["dependencies"]]
    declared = {IMPORT_NAMES.get(word, word) for word in words}
    known = {"onejob", *declared, *sys.stdlib_module_names}
    for file in python_files():
        assert not [str(f) for f in imports_of(file) if f.module.split(".")[0] not in known]


def test_no_file_is_too_long() -> None:
    lengths = {path: path.read_text().count("\n") for path in project_files(*CODE)}
    assert not {p: n for p, n in lengths.items() if n > MAX_FILE_LINES and not _foreign(p)}


def test_no_function_is_too_long() -> None:
    files = [path for path in project_files(".py", ".rs", ".c") if not _foreign(path)]
    functions = [function for path in files for function in functions_of(path)]
    assert len(functions) > 100, "the search for functions is broken"
    assert not [str(f) for f in functions if f.lines > MAX_FUNCTION_LINES]


def _foreign(path: Path) -> bool:
    """Headers that a tool wrote, such as vmlinux.h, are nobody's prose."""
    return path.suffix == ".h" and "generated" in path.read_text()[:500].lower()


def test_nothing_names_a_workplace() -> None:
    for path in project_files():
        if path != Path(__file__).resolve():
            text = path.read_bytes().decode(errors="replace")
            found = [line for line in text.splitlines() if WORKPLACE.search(line)]
            assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_every_file_of_code_says_what_it_is_for() -> None:
    for path in project_files(*CODE, ".sh"):
        if path.name != "__init__.py" and path.read_text().strip():
            first = path.read_text().lstrip().removeprefix("#!/bin/sh\n")
            assert first.startswith(('"""', "//", "/*", "#")), path.relative_to(ROOT)


def test_every_verb_has_its_file_and_its_page() -> None:
    for verb in sorted(verbs()):
        module = PACKAGE / "cli" / verb.replace("-", "_")
        assert module.with_suffix(".py").is_file() or module.is_dir(), f"onejob {verb}: no module"
        assert (ROOT / f"docs/{verb}.md").is_file(), f"onejob {verb}: no docs/{verb}.md"


def test_every_promise_is_shown_by_something() -> None:
    rows = list(table_rows((ROOT / "SPECIFICATION.md").read_text(), "promise"))
    assert rows, "SPECIFICATION.md has no table of promises"
    for row in rows:
        shown = re.findall(r"`([^`]+)`", row[-1])
        assert any(_exists(reference) for reference in shown), f"nothing shows: {row[0]}"


def _exists(reference: str) -> bool:
    """Whether a test, a make target, a benchmark or a verb of this name exists."""
    file, _, test = reference.partition("::")
    if file.startswith("tests/"):
        return (ROOT / file).is_file() and f"def {test}" in (ROOT / file).read_text()
    if found := re.search(r"\bmake (\w+)", reference):
        return f"\n{found[1]}:" in (ROOT / "Makefile").read_text()
    if found := re.search(r"\bonejob\.bench\.(\w+)", reference):
        return (PACKAGE / f"bench/{found[1]}.py").is_file()
    found = re.search(r"\bonejob ([a-z-]+)", reference)
    return found is not None and found[1] in verbs()


def test_every_component_loads_and_says_what_asks_for_it() -> None:
    """The reason of every option is required by the noun itself."""
    for component in load_components(ROOT / "components"):
        asked = component.asked_by.model_dump(exclude_defaults=True)
        assert asked.keys() - {"why"}, f"nothing asks for component {component.name}"
        assert not asked.get("always") or len(asked.get("why", "")) > 2, component.name


def test_every_package_and_native_part_has_a_reason() -> None:
    for name in ("packages.txt", "native-parts.txt"):
        for line in (ROOT / "scripts" / name).read_text().splitlines():
            assert not line.strip() or len(line.partition("#")[2].strip()) > 3, f"{name}: {line}"


def test_every_tool_that_is_looked_for_is_installed_by_make() -> None:
    """`find_tool(TOOL, PACKAGE)` tells users what to install; `make install` must do the same."""
    listed = (ROOT / "scripts/packages.txt").read_text()
    essential = {"bash", "coreutils", "dpkg", "libc-bin"}
    packages = {*essential, *re.findall(r"(?m)^[a-z][^ ]*", listed)}
    calls = [n for f in python_files() for n in ast.walk(syntax(f)) if isinstance(n, ast.Call)]
    looks = [
        call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "find_tool"
    ]
    named = {w.value for look in looks for w in look.args[1:] if isinstance(w, ast.Constant)}
    assert len(named) > 3
    assert named - packages == set()
    assert set(BUILD_TOOLS.values()) - packages == set()


def test_every_marker_and_every_skip_has_a_reason() -> None:
    for marker in pyproject()["tool"]["pytest"]["ini_options"]["markers"]:
        assert len(marker.partition(":")[2]) > 3, marker
    for path in python_files(ROOT / "tests"):
        tree = list(ast.walk(syntax(path)))
        reasoned = {id(call.func) for call in tree if isinstance(call, ast.Call) and _why(call)}
        marks = [n for n in tree if isinstance(n, ast.Attribute) and n.attr in SKIPS and _mark(n)]
        assert all(id(mark) in reasoned for mark in marks), f"{path.name} skips without a reason"


def _why(call: ast.Call) -> bool:
    return any(keyword.arg == "reason" for keyword in call.keywords)


def _mark(name: ast.Attribute) -> bool:
    return isinstance(name.value, ast.Attribute) and name.value.attr == "mark"


def test_system_calls_are_those_of_the_machine() -> None:
    text = UNISTD.read_text()
    machine = {int(n): name for name, n in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    assert len(machine) > 300
    ours = {number: call_name(number) for number in machine}
    assert {n: name for n, name in ours.items() if name in known_calls()} == {
        n: name for n, name in machine.items() if name in known_calls()
    }


def _nouns(module: object) -> list[type[Noun]]:
    values = vars(module).values()
    return [v for v in values if isinstance(v, type) and issubclass(v, Noun) and v is not Noun]


def test_every_key_of_a_workload_is_documented() -> None:
    page = (ROOT / "docs/workload.md").read_text()
    keys = {key for noun in _nouns(workload) for key in noun.model_fields}
    assert len(keys) > 15
    assert not {key for key in keys if f"`{key}`" not in page}


def test_every_exit_code_is_documented() -> None:
    rows = table_rows((ROOT / "docs/exit-codes.md").read_text(), "code")
    documented = {row[0]: row[1] for row in rows}
    kinds: list[type[errors.OnejobError]] = [errors.OnejobError]
    kinds += errors.OnejobError.__subclasses__()
    assert len({kind.exit_code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert f"`{kind.__name__}`" in documented.get(str(kind.exit_code), ""), kind.__name__
