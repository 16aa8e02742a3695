"""The uncompressed kernel: found in each form that the kernel's build makes, else one sentence."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from onejob.exporter.vmlinux import unpack_kernel
from onejob.model.errors import InputError

ELF = b"\x7fELF" + bytes(range(256)) * 64


def packed(how: str) -> bytes:
    if how == "gzip":
        return gzip.compress(ELF, mtime=0)
    words = {"zstd": ["zstd", "-c"], "lz4": ["lz4", "-l", "-c"], "xz": ["xz", "-c"]}[how]
    done = subprocess.run(words, input=ELF, capture_output=True, check=True, timeout=60)
    return done.stdout + len(ELF).to_bytes(4, "little")


def bzimage(payload: bytes, *, magic: bytes = b"HdrS") -> bytes:
    """Two sectors of setup, 16 bytes of code, then the payload (boot.rst)."""
    header = bytearray(3 * 512)
    header[0x1F1] = 2
    header[0x202:0x206] = magic
    header[0x248:0x24C] = (16).to_bytes(4, "little")
    header[0x24C:0x250] = len(payload).to_bytes(4, "little")
    return bytes(header) + bytes(16) + payload


@pytest.mark.parametrize("how", ["gzip", "zstd", "lz4", "xz"])
def test_each_compression_is_undone(tmp_path: Path, how: str) -> None:
    (tmp_path / "kernel").write_bytes(bzimage(packed(how)))
    assert unpack_kernel(tmp_path / "kernel") == ELF


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is no bzImage"),
        (bzimage(packed("zstd"), magic=b"None"), "is no bzImage"),
        (bzimage(packed("zstd"))[:-9], "ends too early"),
        (bzimage(packed("zstd")[:-4] + bytes(4)), "does not unpack to the size that it says"),
        (bzimage(b"\x28\xb5\x2f\xfd" + b"\1" * 60), "does not unpack to the size that it says"),
        (bzimage(b"unheard of compression"), "is compressed in a way that is not known"),
        (bzimage(gzip.compress(b"text")), "holds no ELF image"),
    ],
)
def test_what_is_no_kernel_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(what)):
        unpack_kernel(path)
