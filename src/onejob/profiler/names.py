"""Names that a service makes up as it goes: they differ from round to round, and nothing is new.

``apache2.pid.Xq3vK1``, ``base/16384/16412`` or a message's ``1tF3gh-0004Xc-0z-H`` have no shape in
common, and no look at a word tells whether it is random. What they share is where they come from:
the service made them, and of what a service makes a plan only needs to know the folder, which
becomes writable as a whole. So in a folder where the service made something, all names that were
not there before it ran are one, ``FOLDER/*``. A name that was there stands for itself.
Two more kinds are made up wherever they stand: the kernel's numbers, and 16 or more hexadecimal
digits in a name that was not there, which are a drill's own word (onejob.drive.effects.fresh_nonce)
that a service looks for as an account or a page, or a hash, or a running number.

Only comparisons use folded names; a profile has the paths as they were seen.
"""

import os
import re
from collections.abc import Callable, Iterable
from functools import cache

# What the kernel numbers: processes, threads, descriptors, terminals.
_NUMBERED = re.compile(r"^/(proc|dev/pts)/")
_NUMBER = re.compile(r"(?<=/)\d+(?=/|$)")
_LONG_HEX = re.compile(r"[0-9a-fA-F]{16,}")
ANY = "*"


class Folding:
    """Folds the paths of one service that made the paths `made`; `existed` looks at the host."""

    def __init__(
        self, made: Iterable[str], existed: Callable[[str], bool] = os.path.lexists
    ) -> None:
        self._existed = cache(existed)
        new = {path for path in made if not self._existed(path)}
        self._grown = {os.path.dirname(path) for path in new} | new

    def fold(self, path: str) -> str:
        """`path` with the parts that the service or the kernel made up as ``*``."""
        if _NUMBERED.match(path):
            return _NUMBER.sub(ANY, path)
        here, made_up = "", False
        parts = []
        for part in path.strip("/").split("/"):
            beside = (here or "/") in self._grown
            here = f"{here}/{part}"
            if self._existed(here):
                parts.append(part)
                continue
            made_up = made_up or beside  # and so is all that is below
            parts.append(ANY if made_up else _LONG_HEX.sub(ANY, part))
        return "/" + "/".join(parts)
