"""Paths as the nouns have them: absolute, compared and followed without looking at any disk."""

import posixpath
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

AbsolutePath = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]
PSEUDO_ROOTS = ("/proc", "/sys", "/dev")
_MAX_STEPS = 40
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\[^\\]")


def is_windows(path: str) -> bool:
    """Whether `path` is an absolute one of Windows: of a drive, or of a server (UNC)."""
    return bool(_WINDOWS.match(path))


def is_below(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_pseudo(path: str) -> bool:
    """Whether `path` lies in a file system that the kernel makes up."""
    return any(is_below(path, root) for root in PSEUDO_ROOTS)


def resolve(path: str, targets: Mapping[str, str]) -> list[str]:
    """The links on the way of `path` among `targets`, and where it ends."""
    steps: list[str] = []
    todo = [part for part in path.split("/") if part]
    done = ""
    while todo and len(steps) < _MAX_STEPS:
        part = todo.pop(0)
        if part in (".", ".."):
            done = posixpath.dirname(done).rstrip("/") if part == ".." else done
            continue
        here = f"{done}/{part}"
        if here in targets:
            steps.append(here)
            target = targets[here]
            done = "" if target.startswith("/") else done
            todo = [part for part in target.split("/") if part] + todo
        else:
            done = here
    if todo:  # links in a circle
        return list(dict.fromkeys(steps))
    return [*steps, done or "/"]
