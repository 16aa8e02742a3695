"""Where a survey reads from: this machine's /proc and /sys, or a guest's by its control channel."""

import os
import platform
from pathlib import Path
from typing import Protocol

_MAX_BYTES = 16 << 20  # /proc/cpuinfo has 2 KiB for each processor


class Source(Protocol):
    """Read access to one machine's /proc and /sys."""

    def read(self, path: str) -> str:
        """The text of a file; empty where it cannot be read."""

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a file; empty where it cannot be read."""

    def list(self, path: str) -> tuple[str, ...]:
        """The names in a folder, sorted; empty where there is none."""

    def readlink(self, path: str) -> str:
        """The target of a symbolic link; empty where there is none."""

    def refused(self) -> tuple[str, ...]:
        """The paths so far that are there and that the caller has no right to read."""


class LocalSource:
    """The machine that this runs on; `root` stands for ``/`` (a recorded machine, for tests)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._refused: set[str] = set()

    def read(self, path: str) -> str:
        """The text of a file."""
        return self.read_bytes(path).decode(errors="replace")

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a file."""
        try:
            with self._at(path).open("rb") as file:
                return file.read(_MAX_BYTES)
        except OSError as error:
            self._note(path, error)
            return b""

    def list(self, path: str) -> tuple[str, ...]:
        """The names in a folder."""
        try:
            return tuple(sorted(os.listdir(self._at(path))))
        except OSError as error:
            self._note(path, error)
            return ()

    def readlink(self, path: str) -> str:
        """The target of a symbolic link."""
        try:
            return os.readlink(self._at(path))
        except OSError as error:
            self._note(path, error)
            return ""

    def refused(self) -> tuple[str, ...]:
        """The paths that may not be read, sorted."""
        return tuple(sorted(self._refused))

    def _note(self, path: str, error: OSError) -> None:
        if isinstance(error, PermissionError):
            self._refused.add(path)

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")


def local_architecture() -> str:
    """The architecture of the running kernel, as uname(2) names it."""
    return platform.machine()
