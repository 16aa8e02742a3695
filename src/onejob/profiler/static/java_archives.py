"""Archives and native parts that a Java machine opens by names of its own.

An archive is one file, whatever is in it; so what matters are those of the class path that no class
was looked for in so far, and the libraries of the JDK, which classes load by name.
"""

import glob
import os
import posixpath
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote

from onejob.model.profile import Unfollowed
from onejob.profiler.static.names import Found, Named, View, existing

_MANIFEST = "META-INF/MANIFEST.MF"
_MAX_MANIFEST = 64 * 1024
_IMAGE = "/lib/modules"


def java_archives(view: View) -> Iterator[Found]:
    """The class path's archives, and what belongs to the JDK whose modules were read."""
    used = {file.path for file in view.used("read", "mapped")}
    homes = [path.removesuffix(_IMAGE) for path in sorted(used) if path.endswith(_IMAGE)]
    for home in homes:
        yield from _of_machine(home)
    if not homes:
        return
    for path in sorted(view.files):
        file = view.files[path]
        if file.kind == "directory" and any(use.how == "listed" for use in file.uses):
            # A class path's wildcard stands for all archives of a folder, which it lists (java(1)).
            for archive in sorted(glob.glob(f"{glob.escape(path)}/*.jar")):
                yield Named(archive, f"{path}: listed, as a class path with a wildcard is")
        if path.endswith(".jar") and file.kind == "file":
            yield from _class_path(path)


def _of_machine(home: str) -> Iterator[Found]:
    """Libraries and tables of the JDK; which of them is decided by names in its classes."""
    for pattern in ("lib/*.so", "lib/*.dat", "lib/*.properties", "lib/*.cfg", "conf/**"):
        for path in sorted(glob.glob(f"{glob.escape(home)}/{pattern}", recursive=True)):
            yield Named(path, f"{home}{_IMAGE}: classes load it by name")
    yield from existing(f"{home}{_IMAGE}: classes load it by name", f"{home}/lib/security")
    for path in sorted(glob.glob(f"{glob.escape(home)}/lib/security/*")):
        yield Named(path, f"{home}{_IMAGE}: classes load it by name")


def _class_path(archive: str) -> Iterator[Found]:
    """What the manifest's Class-Path names, relative to the archive (JAR file specification)."""
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(_MANIFEST) as member:
            text = member.read(_MAX_MANIFEST).decode(errors="replace")
    except KeyError:
        return
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        yield Unfollowed(object=archive, reason=f"its manifest was not read: {error}")
        return
    text = re.sub(r"\r?\n ", "", text)  # a line goes on after a space
    for row in re.findall(r"(?m)^(?:Class-Path|Launcher-Agent-Class-Path): *(.*)$", text):
        for name in row.split():
            place = unquote(name.removeprefix("file:"))
            path = posixpath.normpath(posixpath.join(posixpath.dirname(archive), place))
            with suppress(ValueError):  # a zero byte
                if os.path.isfile(path):
                    yield Named(path, f"{archive}: Class-Path {name}")
