"""What the searches for names share: what they look at, what they find, and their limits."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from onejob.model.paths import is_below
from onejob.model.profile import FileUse, Unfollowed
from onejob.profiler.static.summary import ObjectSummary

MAX_TEXT_BYTES = 1024 * 1024
TOO_LONG = "longer than 1 MiB: names in it were not looked for"
MAX_NAMED = 20_000  # paths by one kind of search
# What lies there is made anew on each system, or is the kernel's; nobody's content belongs there.
OUTPUTS = (
    "/dev", "/proc", "/run", "/sys", "/tmp", "/var/cache", "/var/log", "/var/run", "/var/spool",
    "/var/tmp",
)  # fmt: skip

# Who may log in, and with which shell: nothing that a service opens.
ACCOUNT_FILES = {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/shells"}
_COMMENT = re.compile(r"(?m)(^|\s)[#;].*$")


class Named(NamedTuple):
    """A path that exists, and where and by what it was named."""

    path: str
    by: str


# What a search yields: a path, or what it leaves and why.
Found = Named | Unfollowed


class View(NamedTuple):
    """What the searches look at: the files known so far, their code, the service's environment."""

    files: Mapping[str, FileUse]
    objects: Mapping[str, ObjectSummary]
    environment: Mapping[str, str]
    program: str

    def importers(self, names: set[str], besides: tuple[str, ...] = ()) -> dict[str, str]:
        """The objects that import one of `names`, with that name."""
        return {
            path: min(found)
            for path, summary in self.objects.items()
            if not os.path.basename(path).startswith(besides or "\0")
            and (found := names & set(summary.imports))
        }

    def used(self, *hows: str) -> Iterator[FileUse]:
        """The regular files that the service was seen to use in one of these ways, by path."""
        for path in sorted(self.files):
            file = self.files[path]
            if file.kind == "file" and any(use.how in hows for use in file.uses):
                yield file


def read_head(path: str, size: int = MAX_TEXT_BYTES) -> bytes:
    """Up to `size` bytes of a regular file; none where it cannot be read or is larger."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_TEXT_BYTES:
                return file.read(size)
    return b""


def read_text(path: str) -> str:
    """A text file; empty where it is none."""
    data = read_head(os.path.realpath(path))
    with suppress(UnicodeDecodeError):
        return "" if b"\0" in data else data.decode()
    return ""


def without_comments(text: str) -> str:
    """A configuration text without what follows ``#`` or ``;``."""
    return _COMMENT.sub("", text)


def is_output(path: str) -> bool:
    """Whether `path` is where services write rather than read."""
    return any(is_below(path, folder) for folder in OUTPUTS)


def existing(by: str, *paths: str) -> Iterator[Named]:
    """Those `paths` at which there is something."""
    for path in paths:
        if os.path.lexists(path):
            yield Named(path, by)
