"""Paths that stand in scripts and configuration files which the service was seen to read."""

import glob
import os
import posixpath
import re
from collections.abc import Iterator

from onejob.model.paths import is_below
from onejob.model.profile import FileUse, Unfollowed
from onejob.profiler.packages import owner_of
from onejob.profiler.static.names import (
    ACCOUNT_FILES,
    MAX_TEXT_BYTES,
    TOO_LONG,
    Found,
    Named,
    View,
    existing,
    is_output,
    read_head,
    read_text,
    without_comments,
)

_PATH = re.compile(r"""(?<![\w/.:~$}*-])/[\w.@+*?\[\]{},-][\w.@+*?\[\]{},/-]*""")
_MAX_GLOB = 1000
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def interpreters(view: View) -> Iterator[Named]:
    """The interpreter of each script that was executed or is named (``#!``)."""
    for path, file in sorted(view.files.items()):
        executed = any(use.how == "executed" for use in file.uses)
        if file.kind == "file" and (executed or (file.named_by and file.mode & 0o111)):
            yield from _interpreter(path)


def _interpreter(path: str) -> Iterator[Named]:
    head = read_head(path, 256)
    words = head[2:].split(b"\n")[0].decode(errors="replace").split()
    if not head.startswith(b"#!") or not words:
        return
    yield from existing(f"{path}: #!{' '.join(words)}", words[0])
    names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if posixpath.basename(words[0]) == "env" and names:
        for folder in _SEARCH.split(":"):
            if os.access(f"{folder}/{names[0]}", os.X_OK):
                yield Named(f"{folder}/{names[0]}", f"{path}: #!{' '.join(words)}")
                return


def named_in_texts(view: View) -> Iterator[Found]:
    """Absolute paths, patterns too, that exist; folders as such, not what lies in them."""
    own = owner_of(view.program)
    for path, file in sorted(view.files.items()):
        if _is_configuration(file, own):
            if file.size > MAX_TEXT_BYTES:
                yield Unfollowed(object=path, reason=TOO_LONG)
            text = without_comments(read_text(path))
            found = dict.fromkeys(match[0].rstrip(".,") for match in _PATH.finditer(text))
            for name in found:
                yield from _expand(path, name)


def _is_configuration(file: FileUse, own: str) -> bool:
    if file.kind != "file" or file.path in ACCOUNT_FILES or file.mode & 0o111:
        return False
    read = any(use.how == "read" for use in file.uses)
    below_etc = is_below(file.path, "/etc")
    return (read and (below_etc or (own != "" and file.package == own))) or (
        bool(file.named_by) and below_etc
    )


def _expand(where: str, name: str) -> Iterator[Found]:
    """What is at `name`, which may be a pattern as in ``include /etc/x/*.conf``."""
    if is_output(name) or name in ("/", where):
        return
    paths = sorted(glob.iglob(name)) if glob.has_magic(name) else [name]
    if len(paths) > _MAX_GLOB:
        why = f"{name} fits {len(paths)} paths: all but the first {_MAX_GLOB} are left"
        yield Unfollowed(object=where, reason=why)
    for path in paths[:_MAX_GLOB]:
        if not is_output(os.path.realpath(path)) and os.path.realpath(path) != "/":
            yield from existing(f"{where}: {name}", path)
