"""The uncompressed kernel in a bzImage: for virtual machines that have no boot protocol.

Source: the kernel's Documentation/arch/x86/boot.rst (payload_offset, payload_length) and
arch/x86/boot/compressed/Makefile (which appends the size to all but gzip).
"""

import subprocess
import tempfile
import zlib
from pathlib import Path

from onejob.base.process import find_tool, start_group
from onejob.model.errors import InputError

_LIMIT_S = 120
_LARGEST = 512 * 1024 * 1024
_SECTOR = 512
# By the first bytes: the tool that unpacks it, and its Debian package. gzip is Python's.
_GZIP = b"\x1f\x8b"
_TOOLS = {
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd"),
    b"\x02\x21\x4c\x18": ("lz4", "lz4"),
    b"\xfd7zX": ("xz", "xz-utils"),
}


def unpack_kernel(path: Path) -> bytes:
    """The ELF image in the bzImage at `path`; InputError where there is none."""
    payload = _payload(path)
    if payload.startswith(_GZIP):
        unpacked = zlib.decompressobj(wbits=31).decompress(payload, _LARGEST)
    else:
        tool = next((t for magic, t in _TOOLS.items() if payload.startswith(magic)), None)
        if tool is None:
            raise _damaged(path, "is compressed in a way that is not known")
        # The size of what is in it, after the compressed bytes, is the kernel's own.
        unpacked = _run(find_tool(*tool), payload[:-4])
        if len(unpacked) != int.from_bytes(payload[-4:], "little"):
            raise _damaged(path, "does not unpack to the size that it says")
    if unpacked[:4] != b"\x7fELF":
        raise _damaged(path, "holds no ELF image")
    return unpacked


def _payload(path: Path) -> bytes:
    content = path.read_bytes()
    if content[0x202:0x206] != b"HdrS":
        raise _damaged(path, "is no bzImage")
    sectors = content[0x1F1] or 4
    offset, length = (int.from_bytes(content[at : at + 4], "little") for at in (0x248, 0x24C))
    start = (sectors + 1) * _SECTOR + offset
    if length < 8 or start + length > len(content):
        raise _damaged(path, "ends too early")
    return content[start : start + length]


def _run(tool: str, packed: bytes) -> bytes:
    """What `tool` unpacks, as far as a kernel can be large."""
    with tempfile.TemporaryFile() as source:
        source.write(packed)
        source.seek(0)
        command = [tool, "-dc"]
        with start_group(
            command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            return bytes(process.stdout.read(_LARGEST))


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}", "build the image again")
