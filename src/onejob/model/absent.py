"""Paths that a profile shows to be absent, and the number that stands for one in an image.

The memory manager looks them up by that number (native/memory/src/absent.rs).
"""

from onejob.model.noun import Noun

MOST_PATH = 224
"""Bytes of a path that the memory manager looks at."""
_BASIS, _PRIME = 0xCBF29CE484222325, 0x100000001B3


class AbsentPaths(Noun):
    """The `paths` that `program` may look for in vain: that is no news to the observations."""

    program: str
    paths: tuple[str, ...]
    reason: str


def path_key(path: str) -> int:
    """FNV-1a in 64 bits of the path's first MOST_PATH bytes and an end mark of zero."""
    number = _BASIS
    for byte in (*path.encode(errors="surrogateescape")[:MOST_PATH], 0):
        number = ((number ^ byte) * _PRIME) & 0xFFFFFFFFFFFFFFFF
    return number
