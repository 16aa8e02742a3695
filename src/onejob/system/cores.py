"""A core file that process 1 has kept, taken from a folder or a disk image of an instance's data.

As with the ring (logs.py), nothing in the data is trusted.
"""

import os
import stat
import subprocess
from pathlib import Path
from typing import IO, BinaryIO

from onejob.base.process import find_tool, start_group
from onejob.model.errors import InputError
from onejob.system.logs import FOLDER, as_nobody, opened

_PAGE = 4096
_CHUNK = 256 * _PAGE
_MOST = 1 << 36  # bytes, holes among them
_ELF = b"\x7fELF"
_NEVER = "core files are kept where the image was planned with --core-dumps, and for --data"


def take_core(data: Path, number: int, output: Path) -> int:
    """Copy ``core.NUMBER`` of `data` to the new file `output`, for its owner alone; its bytes.

    InputError where there is none, or `output` is there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.fdopen(os.open(output, flags, 0o600), "wb")
    except OSError as error:
        raise InputError(f"{output}: {error.strerror}", "name a new file with -o") from error
    with file:
        name = f"core.{number}"
        size = _from_folder(data, name, file) if data.is_dir() else _from_disk(data, name, file)
    if not size:
        output.unlink()
        raise InputError(f"no {name} in {data}", _NEVER)
    return size


def _from_folder(data: Path, name: str, file: BinaryIO) -> int:
    try:
        with (
            opened(str(data), os.O_DIRECTORY) as top,
            opened(FOLDER, os.O_DIRECTORY | os.O_NOFOLLOW, top) as folder,
            opened(name, os.O_NOFOLLOW, folder) as found,
        ):
            regular = stat.S_ISREG(os.fstat(found).st_mode)
            with open(found, "rb", closefd=False) as stream:
                return _copy(stream, file) if regular else 0
    except OSError:
        return 0


def _from_disk(disk: Path, name: str, file: BinaryIO) -> int:
    tool = find_tool("debugfs", "e2fsprogs")
    argv = [*as_nobody(), tool, "-R", f"cat /{FOLDER}/{name}", str(disk.absolute())]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with start_group(argv, cwd="/", **pipes) as process:
        return _copy(process.stdout, file) if process.stdout else 0


def _copy(stream: IO[bytes], file: BinaryIO) -> int:
    """Holes stay holes; 0 where it is no ELF file."""
    size = 0
    while (chunk := stream.read(_CHUNK)) and size < _MOST:
        if not size and not chunk.startswith(_ELF):
            return 0
        for at in range(0, len(chunk), _PAGE):
            page = chunk[at : at + _PAGE]
            if page.strip(b"\0"):
                file.seek(size + at)
                file.write(page)
        size += len(chunk)
    file.truncate(size)
    return size
