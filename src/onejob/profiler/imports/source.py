"""A file of another tool: opened once, read within limits, line by line, and known by its hash."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from onejob.model.errors import InputError

MAX_BYTES = 16 * 2**30
MAX_LINE_BYTES = 2**20  # strace -v -s 65535 stays below
MAX_SMALL_BYTES = 2**24
HEAD_BYTES = 2**16  # enough to recognise a format by
_CHUNK = 2**20


class Source:
    """One file to import; `lines` and `small` read it from its beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = _open_regular(path)
        self.size = os.fstat(self.file.fileno()).st_size
        if self.size > MAX_BYTES:
            self.file.close()
            raise InputError(f"{path} is larger than {MAX_BYTES} bytes", "import a part of it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def head(self) -> bytes:
        """The first bytes, to recognise the format by."""
        self.file.seek(0)
        return self.file.read(HEAD_BYTES)

    def lines(self) -> Iterator[str | None]:
        """Its lines without their ends; None for one that is too long to be of any such tool.

        What is not UTF-8 stands as surrogates, as file names do in Python.
        """
        self.file.seek(0)
        while line := self.file.readline(MAX_LINE_BYTES):
            if line.endswith(b"\n") or len(line) < MAX_LINE_BYTES:
                yield line.rstrip(b"\r\n").decode(errors="surrogateescape")
                continue
            while line and not line.endswith(b"\n"):
                line = self.file.readline(MAX_LINE_BYTES)
            yield None

    def small(self) -> bytes:
        """All of it; InputError where it is too large for a file of settings."""
        self.file.seek(0)
        data = self.file.read(MAX_SMALL_BYTES + 1)
        if len(data) > MAX_SMALL_BYTES:
            raise InputError(f"{self.path} is larger than {MAX_SMALL_BYTES} bytes")
        return data

    def label(self) -> str:
        """Its name and hash, for a profile's provenance."""
        self.file.seek(0)
        digest = hashlib.sha256()
        while chunk := self.file.read(_CHUNK):
            digest.update(chunk)
        return f"{self.path.name} sha256:{digest.hexdigest()}"


def _open_regular(path: Path) -> BinaryIO:
    try:
        # O_NONBLOCK: a named pipe must not make us wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path} is no file", "name the file that the tool wrote")
    return os.fdopen(descriptor, "rb")
