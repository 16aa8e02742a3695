"""What the house rules look at: the project's files, their imports, the lengths of functions."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src/onejob"


class Import(NamedTuple):
    """One imported module as written in a file; `names` of a from-import."""

    file: Path
    module: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)} imports {self.module}"


class Function(NamedTuple):
    """One function and how many lines it has."""

    file: Path
    name: str
    lines: int

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}: {self.name} has {self.lines} lines"


@cache
def project_files(*endings: str) -> tuple[Path, ...]:
    """All files that are, or are about to be, under version control; with these endings."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    wanted = [p for p in paths if not endings or p.suffix in endings]
    return tuple(sorted(p for p in wanted if p.is_file() and not p.is_symlink()))


@cache
def syntax(path: Path) -> ast.Module:
    """The parsed Python file."""
    return ast.parse(path.read_text(), str(path))


def python_files(room: Path = PACKAGE) -> list[Path]:
    """Python files below `room`."""
    return [path for path in project_files(".py") if path.is_relative_to(room)]


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, also those inside functions."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            yield from (Import(path, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(path, _absolute(path, node), names)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(PACKAGE.parent).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def rooms_imported(file: Path) -> Iterator[tuple[str, Import]]:
    """The rooms of ours that a file imports from: ``onejob.base.x`` is of room base."""
    for found in imports_of(file):
        parts = found.module.split(".")
        if parts == ["onejob"]:
            yield from ((name, found) for name in found.names if not name.startswith("__"))
        elif parts[0] == "onejob":
            yield parts[1], found


def functions_of(path: Path) -> Iterator[Function]:
    """The functions of a Python, Rust or C file."""
    if path.suffix == ".py":
        for node in ast.walk(syntax(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield Function(path, node.name, (node.end_lineno or 0) - node.lineno + 1)
    else:
        yield from _brace_functions(path)


# Formatted code ends a function with a bracket indented like its beginning.
_BEGINNING = {
    ".rs": re.compile(r"^( *)(?:pub(?:\([a-z]+\))? |const |unsafe |extern \"C\" )*fn (\w+)"),
    ".c": re.compile(r"^()(?!typedef|enum|union|SEC\()[A-Za-z].*?(\w+)\("),
}


def _brace_functions(path: Path) -> Iterator[Function]:
    lines = path.read_text().splitlines()
    for first, line in enumerate(lines):
        if match := _BEGINNING[path.suffix].match(line):
            last = next(n for n in range(first, len(lines)) if _ends(lines, first, n, match[1]))
            yield Function(path, match[2], last - first + 1)


def _ends(lines: list[str], first: int, number: int, indent: str) -> bool:
    """Whether the function that begins in line `first` is over after line `number`."""
    line = lines[number]
    alone = number == first and line.endswith(("}", ";"))
    declared = line.startswith(f"{indent})") and line.endswith(";")
    return alone or declared or line.startswith(f"{indent}}}") or number == len(lines) - 1


def table_rows(text: str, first_column: str) -> Iterator[list[str]]:
    """The rows of every Markdown table whose first heading is `first_column`."""
    inside = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|"):
            inside = False
        elif cells[0].lower() == first_column:
            inside = True
        elif inside and not set(cells[0]) <= set(":-"):
            yield cells
