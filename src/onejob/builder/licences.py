"""Under which licences packages are, as their copyright files say.

Source: Debian Policy 12.5 and the machine-readable copyright format 1.0 (DEP 5).
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from onejob.model.image import PackageLicences

DOCUMENTS = Path("/usr/share/doc")
_LARGEST = 4 * 1024 * 1024
_FIELD = re.compile(r"(?m)^License:[ \t]*(\S[^\n]*?)[ \t]*$")
# Older files are prose, and refer to the texts that every system has.
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z][A-Za-z0-9.-]*[A-Za-z0-9])")


def package_licences(
    names: Iterable[str], documents: Path = DOCUMENTS
) -> Iterator[PackageLicences]:
    """The licences of each package, by Debian's short names; none where its file names none."""
    for name in sorted(set(names)):
        path = documents / name.partition(":")[0] / "copyright"
        yield PackageLicences(package=name, licences=licences_in(_read(path)))


def licences_in(text: str) -> tuple[str, ...]:
    """The short names in a copyright file, each once, sorted."""
    return tuple(sorted(set(_FIELD.findall(text) or _COMMON.findall(text))))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode(errors="replace")
    except OSError:
        return ""  # documentation can be left out of a system
