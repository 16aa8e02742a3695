"""The modules that Perl files use or require: found in their text, resolved on their @INC."""

import glob
import os
import re
from collections.abc import Iterator
from functools import partial

from onejob.profiler.static.imports import Import, Imports, Language, closure
from onejob.profiler.static.names import Found, View, read_head, read_text

_POD = re.compile(r"(?ms)^=[a-z]\w*.*?(?:^=cut[^\n]*$|\Z)")
_END = re.compile(r"(?m)^__(?:END|DATA)__\s*$")
_PACKAGE = re.compile(r"(?m)^\s*package\s+([\w:]+)")
_NAME = r"[A-Za-z_]\w*(?:::\w+)*"
_USE = re.compile(rf"\s*(use|no|require)\s+({_NAME})\b(?!\s*(?:=>|->))([^;]*)")
_FILE = re.compile(r"""\s*(?:require|do)\s+["']([\w./-]+\.p[lmh])["']""")
_COMPUTED = re.compile(
    r"\s*(?:require\s+[$(]|(?:eval\s+)?\"\s*(?:require|use)\s+\$|eval\s+\"require\b)"
)
_WORDS = re.compile(rf"\b{_NAME}\b")
_PARENTS = {"parent", "base"}


def perl_modules(view: View) -> Iterator[Found]:
    """What the observed Perl files use, the native parts of modules too."""
    sources = [file.path for file in view.used("read", "executed") if _is_perl(file.path)]
    if not sources:
        return
    language = Language("Perl", _is_perl, scan_perl, partial(_resolve, _searched(view, sources)))
    yield from closure(view, language, sources)


def _is_perl(path: str) -> bool:
    if path.endswith((".pm", ".pl", ".ph", ".al")):
        return True
    head = read_head(path, 128).split(b"\n")[0]
    return head.startswith(b"#!") and b"perl" in head


def _searched(view: View, sources: list[str]) -> tuple[str, ...]:
    """The folders of @INC: above each module by as much as its package's name has parts."""
    folders, names = set(), set()
    for path in sources:
        for package in _PACKAGE.findall(read_text(path)):
            name = f"/{package.replace('::', '/')}.pm"
            if path.endswith(name):
                folders.add(path.removesuffix(name))
                names.add(name)
    asked = [file.path for file in view.files.values() if file.kind == "missing"]
    folders |= {path.removesuffix(name) for path in asked for name in names if path.endswith(name)}
    return tuple(sorted(folder for folder in folders if os.path.isdir(folder)))


def scan_perl(text: str) -> Imports:
    """The imports of a Perl text: documentation and what follows __END__ is none of it."""
    code = _POD.sub(lambda match: "\n" * match[0].count("\n"), text)
    code = _END.split(code)[0]
    found: dict[str, Import] = {}
    computed = []
    for number, line in enumerate(code.split("\n"), 1):
        for name, at_load in _names_in(line):
            if name not in found or (at_load and not found[name].at_load):
                found[name] = Import(name=name, line=number, at_load=at_load)
        if _COMPUTED.search(line.partition("#")[0]):
            computed.append(number)
    for package in (
        _PACKAGE.findall(code) if re.search(r"XSLoader|DynaLoader|AutoLoader", code) else ()
    ):
        found[f"auto {package}"] = Import(name=f"auto {package}", line=0)
    return Imports(imports=tuple(found.values()), computed=tuple(computed))


def _names_in(line: str) -> Iterator[tuple[str, bool]]:
    """``use`` is done before the program runs, wherever it stands; ``require`` when reached."""
    for match in (*_USE.finditer(line), *_FILE.finditer(line)):
        before = line[: match.start()].rstrip()
        if "#" in before or (before and before[-1] not in ";{}("):
            continue
        outside = not line[:1].isspace() and "{" not in before
        if match.re is _FILE:
            yield match[1], outside
            continue
        at_load = match[1] == "use" or outside
        yield match[2], at_load
        if match[2] in _PARENTS or match[2] == "if":
            yield from ((name, at_load) for name in _WORDS.findall(match[3]))


def _resolve(folders: tuple[str, ...], name: str, path: str) -> Iterator[str]:
    """Where it is in the folders; for a name with auto, its native part and split functions."""
    if name.startswith("auto "):
        inner = name.removeprefix("auto ").replace("::", "/")
        for folder in folders:
            yield from sorted(glob.glob(f"{glob.escape(folder)}/auto/{inner}/*.*"))
        return
    relative = name if name.endswith((".pl", ".pm", ".ph")) else f"{name.replace('::', '/')}.pm"
    candidates = (relative,) if relative.startswith("/") else (f"{f}/{relative}" for f in folders)
    yield from (found for found in candidates if os.path.isfile(found))
