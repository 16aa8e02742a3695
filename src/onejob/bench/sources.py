"""Where this machine gets its packages from: apt's own configuration, read.

Sources: sources.list(5), both of its forms.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from onejob.model.errors import LacksError

APT = Path("/etc/apt")


class Source(NamedTuple):
    """One suite of a package source; `keyring` is the file that signs it, empty if not said."""

    uri: str
    suite: str
    components: tuple[str, ...]
    keyring: str = ""


def find_source(release: str, apt: Path = APT) -> Source:
    """The first source of binary packages with the component main for `release` itself.

    LacksError where apt is configured with none.
    """
    for source in read_sources(apt):
        fetched = source.uri.startswith(("http:", "https:", "file:"))
        if source.suite == release and "main" in source.components and fetched:
            return source
    hint = f"add the distribution's source to {apt}/sources.list"
    raise LacksError(f"apt has no source of {release or 'this release'} with main", hint)


def read_sources(apt: Path) -> Iterator[Source]:
    """Every suite of every source below the folder `apt`, in apt's order."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    for path in files:
        if path.is_file() and path.suffix == ".list":
            yield from parse_lines(path.read_text(errors="replace"))
        elif path.is_file() and path.suffix == ".sources":
            yield from parse_stanzas(path.read_text(errors="replace"))


def parse_lines(text: str) -> Iterator[Source]:
    """The one-line form: ``deb [options] uri suite component ...``."""
    for line in text.splitlines():
        kind, _, rest = line.partition("#")[0].strip().partition(" ")
        options = ""
        if rest.strip().startswith("["):
            options, _, rest = rest.strip()[1:].partition("]")
        words = rest.split()
        if kind == "deb" and len(words) >= 2:
            keyring = _keyring(dict(o.split("=", 1) for o in options.split() if "=" in o))
            yield Source(words[0], words[1], tuple(words[2:]), keyring)


def parse_stanzas(text: str) -> Iterator[Source]:
    """The deb822 form: stanzas of ``Field: value``, lists separated by blanks."""
    for stanza in "\n".join(_without_comments(text)).split("\n\n"):
        fields = dict(_fields(stanza))
        enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0")
        if enabled and "deb" in fields.get("types", "").split():
            components = tuple(fields.get("components", "").split())
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield Source(uri, suite, components, _keyring(fields))


def _without_comments(text: str) -> Iterator[str]:
    """A comment may stand inside a stanza and does not end it."""
    return (line.rstrip() for line in text.splitlines() if not line.startswith("#"))


def _fields(stanza: str) -> Iterator[tuple[str, str]]:
    name, value = "", ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            value += f" {line.strip()}"
            continue
        if name:
            yield name, value
        name, _, value = (part.strip() for part in line.partition(":"))
        name = name.lower()
    if name:
        yield name, value


def _keyring(fields: dict[str, str]) -> str:
    """The path of a keyring file; a key given by fingerprint or in place is left to the default."""
    value = fields.get("signed-by", "")
    return value if value.startswith("/") and " " not in value else ""
