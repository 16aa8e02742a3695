"""What the service prints while it is profiled: through a pipe, as in an image, to a file."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onejob.base.accounts import Identity

_PIECE = 1 << 16
_LAST_WORDS_S = 5.0


class Words:
    """`descriptor` is the writing end, for a service of `owner`, who may then open /dev/stdout.

    A service may do other calls for a file or a terminal than for the pipe that process 1 has.
    """

    def __init__(self, file: Path, owner: Identity) -> None:
        self._reading, self.descriptor = os.pipe()
        if os.geteuid() == 0:
            os.fchown(self.descriptor, owner.uid, owner.gid)
        self._kept = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        with (
            os.fdopen(self._reading, "rb", buffering=0) as reading,
            os.fdopen(self._kept, "wb", buffering=0) as kept,
        ):
            while piece := reading.read(_PIECE):
                kept.write(piece)

    def let_go(self) -> None:
        """The service has the pipe, or has ended: with nobody at it, all is kept."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        self._thread.join(_LAST_WORDS_S)


@contextmanager
def words_to(file: Path, owner: Identity) -> Iterator[Words]:
    """A pipe to `file`, until the end of the context."""
    words = Words(file, owner)
    try:
        yield words
    finally:
        words.let_go()
