"""Symbolic links of a profile, followed without looking at any disk."""

import posixpath
from collections.abc import Mapping

_MAX_STEPS = 40


def resolve(path: str, targets: Mapping[str, str]) -> list[str]:
    """The links on the way of `path` among `targets`, and where it ends."""
    steps: list[str] = []
    todo = [part for part in path.split("/") if part]
    done = ""
    while todo and len(steps) < _MAX_STEPS:
        here = f"{done}/{todo.pop(0)}"
        if here in targets:
            steps.append(here)
            target = targets[here]
            done = "" if target.startswith("/") else done
            base = posixpath.normpath(f"{done}/{target}")
            done, todo = "", [part for part in base.split("/") if part] + todo
        else:
            done = here
    return [*steps, done or "/"]
