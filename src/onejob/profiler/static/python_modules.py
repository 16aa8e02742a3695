"""The modules that Python files import: found in their text, resolved in the listed folders.

An import in a handler of errors, or in a function that no drill called, is as good as any other.
"""

import ast
import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from encodings.aliases import aliases

from onejob.profiler.static.imports import Import, Imports, Language, closure
from onejob.profiler.static.names import Found, View, read_head

_CACHED = re.compile(r"(.*/)__pycache__/([^/]+?)\.([\w-]+?-\d+)(?:\.opt-[12])?\.pyc")
_EXTENSIONS = (".abi3.so", ".so")
_ELSEWHERE = {"win32", "nt", "darwin", "cygwin", "java", "emscripten", "wasi"}
_BY_NAME = {"import_module", "__import__", "entry_points", "iter_entry_points", "load_entry_point"}
_CODECS = {"encode", "decode", "lookup", "getreader", "getwriter", "getdecoder", "getencoder"}


def python_modules(view: View) -> Iterator[Found]:
    """What the observed Python files import, in source and as compiled."""
    sources, tags = _sources(view)
    if not sources:
        return
    folders = tuple(
        file.path
        for file in view.files.values()
        if file.kind == "directory"
        and any(use.how == "listed" for use in file.uses)
        and not os.path.exists(f"{file.path}/__init__.py")
    )
    resolve = _SearchPath(folders, tags).resolve
    language = Language("Python", lambda path: path.endswith(".py"), scan_python, resolve)
    yield from closure(view, language, sources)


def _sources(view: View) -> tuple[set[str], set[str]]:
    """The Python texts that were read, as such or compiled, and the tags of the compiled ones."""
    sources, tags = set(), set()
    for file in view.used("read", "executed"):
        cached = _CACHED.fullmatch(file.path)
        if cached:
            sources.add(f"{cached[1]}{cached[2]}.py")
            tags.add(cached[3])
        elif file.path.endswith(".py") or _is_script(file.path):
            sources.add(file.path)
    return sources, tags


def _is_script(path: str) -> bool:
    head = read_head(path, 128).split(b"\n")[0]
    return head.startswith(b"#!") and b"python" in head


def scan_python(text: str) -> Imports:
    """The imports of a Python text."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Imports(note=f"its Python is not understood: {type(error).__name__}")
    scan = _Scan()
    scan.visit(tree)
    return Imports(imports=tuple(scan.found.values()), computed=tuple(sorted(scan.computed)))


class _Scan(ast.NodeVisitor):
    """Collects imports; those in branches for other systems, or for type checkers, are left."""

    def __init__(self) -> None:
        self.found: dict[str, Import] = {}
        self.computed: set[int] = set()
        self._inside = 0

    def _add(self, name: str, line: int) -> None:
        known = self.found.get(name)
        if known is None or (not known.at_load and not self._inside):
            self.found[name] = Import(name=name, line=line, at_load=not self._inside)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._inside += 1
        self.generic_visit(node)
        self._inside -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node: ast.If) -> None:
        for part in (
            node.orelse if _is_elsewhere(node.test) else (node.test, *node.body, *node.orelse)
        ):
            self.visit(part)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = "." * node.level + (node.module or "")
        self._add(base, node.lineno)
        for alias in node.names:  # a submodule, or an attribute: only the files can tell
            dot = "" if base.endswith(".") else "."
            if alias.name != "*":
                self._add(f"{base}{dot}{alias.name}", node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        first = node.args[0] if node.args else None
        text = first.value if isinstance(first, ast.Constant) else None
        if called in _BY_NAME:
            if isinstance(text, str) and "import" in called:
                self._add(text, node.lineno)
            else:
                self.computed.add(node.lineno)
        self._add_codec(text if called in _CODECS else None, node.lineno)
        for keyword in node.keywords:
            if keyword.arg == "encoding" and isinstance(keyword.value, ast.Constant):
                self._add_codec(keyword.value.value, node.lineno)
        self.generic_visit(node)

    def _add_codec(self, name: object, line: int) -> None:
        """codecs loads what encodes by its name (encodings/__init__.py)."""
        if isinstance(name, str) and re.fullmatch(r"[\w-]{1,40}", name):
            plain = name.lower().replace("-", "_")
            self._add(f"encodings.{aliases.get(plain, plain)}", line)


def _is_elsewhere(test: ast.expr) -> bool:
    """``TYPE_CHECKING``, ``__name__ == "__main__"``, or a comparison with another system's name."""
    if isinstance(test, ast.Attribute):
        return test.attr == "TYPE_CHECKING"
    if isinstance(test, ast.Name):
        return test.id == "TYPE_CHECKING"
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Eq):
        return False
    right = test.comparators[0]
    return isinstance(right, ast.Constant) and right.value in {*_ELSEWHERE, "__main__"}


class _SearchPath:
    """Finds modules in the folders of sys.path, each of which is listed once, as Python does."""

    def __init__(self, folders: tuple[str, ...], tags: Iterable[str]) -> None:
        self._folders = folders
        self._tags = tuple(sorted(tags))
        self._listed: dict[str, frozenset[str]] = {}

    def resolve(self, name: str, path: str) -> Iterator[str]:
        """The files of a module, of the packages that it is in, and what is kept of them compiled.

        A name that begins with a dot is looked for beside `path`.
        """
        parts = name.lstrip(".").split(".") if name.strip(".") else []
        level = len(name) - len(name.lstrip("."))
        if not level:
            for folder in self._folders:
                yield from self._descend(folder, parts)
            return
        folder = posixpath.dirname(path)
        for _ in range(level - 1):
            folder = posixpath.dirname(folder)
        if self._has(folder, "__init__.py"):
            yield from self._with_compiled(folder, "__init__")
        yield from self._descend(folder, parts)

    def _has(self, folder: str, name: str) -> bool:
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listed[folder] = frozenset()
        return name in self._listed[folder]

    def _descend(self, folder: str, parts: list[str]) -> Iterator[str]:
        """As far as the names lead: a package is a folder, a module is the last."""
        for part in parts:
            if self._has(folder, f"{part}.py") and not self._has(f"{folder}/{part}", "__init__.py"):
                yield from self._with_compiled(folder, part)
                return
            for end in (*(f".{tag}-x86_64-linux-gnu.so" for tag in self._tags), *_EXTENSIONS):
                if self._has(folder, part + end):
                    yield f"{folder}/{part}{end}"
            if not self._has(folder, part):
                return
            folder = f"{folder}/{part}"
            if self._has(folder, "__init__.py"):
                yield from self._with_compiled(folder, "__init__")

    def _with_compiled(self, folder: str, name: str) -> Iterator[str]:
        yield f"{folder}/{name}.py"
        for tag in self._tags:
            if self._has(f"{folder}/__pycache__", f"{name}.{tag}.pyc"):
                yield f"{folder}/__pycache__/{name}.{tag}.pyc"
