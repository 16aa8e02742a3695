"""The distribution's package database: who owns a file, and what a package's closure installs."""

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from onejob.base.files import open_regular
from onejob.model.errors import LacksError
from onejob.model.profile import Package

_INFO = Path("/var/lib/dpkg/info")
_MAX_BYTES = 256 << 20
_STATUS = Path("/var/lib/dpkg/status")


def missing_packages(names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that are not installed (a package that provides the name will do)."""
    provided = {name for row in _database().values() for name in row["provides"]}
    return tuple(name for name in names if name not in _database() and name not in provided)


def need_packages(names: Iterable[str], workload: str) -> None:
    """LacksError that offers the installation of what is missing."""
    missing = missing_packages(names)
    if missing:
        raise LacksError(
            f"workload {workload}: not installed: {', '.join(missing)}",
            f"apt-get install --no-install-recommends {' '.join(missing)}",
        )


def owner_of(path: str) -> str:
    """``name=version`` of the package that installed `path`; empty where none did."""
    name = _owners().get(path) or _owners().get(path.removeprefix("/usr")) or ""
    return f"{name}={_database()[name]['version'][0]}" if name in _database() else ""


def closure_of(program: str, wanted: Iterable[str]) -> tuple[Package, ...]:
    """The packages that `program` arrives with: its own, those of `wanted` that bring it, and all
    that they depend on; each with the number of paths that it installs."""
    own = owner_of(program).partition("=")[0]
    roots = {own} if own else set()
    roots |= {name for name in wanted if own and own in _depends_on(name)}
    names = sorted(set().union(*(_depends_on(name) for name in roots)) if roots else set())
    return tuple(
        Package(name=name, version=_database()[name]["version"][0], paths=len(_paths(name)))
        for name in names
    )


@cache
def _database() -> dict[str, dict[str, list[str]]]:
    """What is installed: read here, since dpkg-query of a container's root would be its own."""
    rows = {}
    for row in stanzas(_STATUS):
        if row.get("Status", "").endswith(" installed"):
            depends = f"{row.get('Pre-Depends', '')}, {row.get('Depends', '')}"
            rows[row.get("Package", "")] = {
                "version": [row.get("Version", "")],
                "depends": _names(depends),
                "provides": _names(row.get("Provides", "")),
            }
    return rows


def stanzas(path: Path) -> Iterator[dict[str, str]]:
    """The packages of dpkg's database (deb-control(5)); none where there is no such database."""
    try:
        with open_regular(path) as file:
            text = file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return
    for stanza in text.split("\n\n"):
        fields = (line.partition(":") for line in stanza.splitlines() if line[:1].isalpha())
        yield {name: value.strip() for name, _, value in fields}


def _names(text: str) -> list[str]:
    """The clauses of a dependency field without versions; alternatives stay joined by ``|``."""
    clauses = (clause.strip() for clause in text.split(",") if clause.strip())
    return ["|".join(a.split()[0].partition(":")[0] for a in c.split("|")) for c in clauses]


@cache
def _depends_on(name: str) -> frozenset[str]:
    """`name` and all installed packages that it needs, however far."""
    found: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current in found or current not in _database():
            continue
        found.add(current)
        for clause in _database()[current]["depends"]:
            providers = (_provider(alternative) for alternative in clause.split("|"))
            todo += [provider for provider in providers if provider in _database()][:1]
    return frozenset(found)


def _provider(name: str) -> str:
    if name in _database():
        return name
    rows = _database().items()
    return next((package for package, row in rows if name in row["provides"]), name)


def _paths(name: str) -> list[str]:
    """What the package installs, directories left out."""
    lists = [*_INFO.glob(f"{name}.list"), *_INFO.glob(f"{name}:*.list")]
    paths = (line for path in lists for line in path.read_text().splitlines())
    return [path for path in paths if os.path.islink(path) or not os.path.isdir(path)]


@cache
def _owners() -> dict[str, str]:
    owners: dict[str, str] = {}
    for path in _INFO.glob("*.list"):
        name = path.stem.partition(":")[0]
        for line in path.read_text(errors="surrogateescape").splitlines():
            owners.setdefault(line, name)
    return owners
