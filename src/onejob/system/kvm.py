"""Which accelerator a guest really runs under: KVM only after a short real test.

Opening /dev/kvm proves nothing: there are machines where a guest is created and never runs.
"""

import hashlib
import json
import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from onejob.base.natives import cache_path
from onejob.base.process import find_tool, start_group
from onejob.system.guest import console_words, machine_words

TEST_S = 5.0
DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Accelerator:
    """``kvm`` or ``tcg``, and why."""

    name: str
    reason: str


def find_qemu() -> str:
    """The path of QEMU; LacksError names the package."""
    return find_tool("qemu-system-x86_64", "qemu-system-x86")


def find_accelerator(
    kernel: Path,
    how: str,
    cache: Path | None = None,
    *,
    device: Path = DEVICE,
    qemu: str | None = None,
) -> Accelerator:
    """KVM if this very `kernel` prints its first line under it within TEST_S, else TCG.

    The result holds for this boot of the host, this kernel and this QEMU, and is kept in `cache`.
    """
    if not os.access(device, os.R_OK | os.W_OK):
        why = "may not be opened" if device.exists() else "is not there"
        return Accelerator("tcg", f"{device} {why}")
    qemu = qemu or find_qemu()
    known = (cache or cache_path()) / "accelerator" / f"{_key(kernel, how, qemu)}.json"
    found = _read(known)
    if found is None:
        found = try_kvm(qemu, kernel, how)
        _write(known, found)
    return found


def try_kvm(qemu: str, kernel: Path, how: str, timeout: float = TEST_S) -> Accelerator:
    """Boot `kernel` with no disk under KVM, and wait `timeout` seconds for one line of it."""
    words = [qemu, *machine_words(how, "kvm"), *console_words(), "-m", "128"]
    words += ["-kernel", str(kernel), "-append", "console=ttyS0 panic=-1 reboot=t"]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with start_group(words, **options) as process:
        line = _first_line(process.stdout, timeout) if process.stdout else ""
    if "Linux" in line:
        return Accelerator("kvm", "a test guest ran under KVM")
    said = f"QEMU said: {line}" if line else f"a test guest printed nothing in {timeout:g} s"
    return Accelerator("tcg", f"KVM does not work here ({said})")


def _first_line(stream: IO[bytes], timeout: float) -> str:
    deadline = time.monotonic() + timeout
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(deadline - time.monotonic(), 0)):
            chunk = os.read(stream.fileno(), 4096)
            data += chunk
            if not chunk or b"\n" in data.lstrip():
                break
    return data.decode(errors="replace").strip().partition("\n")[0].strip()


def _key(kernel: Path, how: str, qemu: str) -> str:
    seen = hashlib.sha256(kernel.read_bytes())
    stat = os.stat(qemu)
    words = (BOOT_ID.read_text(), how, qemu, str(stat.st_size), str(stat.st_mtime_ns))
    seen.update("\n".join(words).encode())
    return seen.hexdigest()[:32]


def _read(path: Path) -> Accelerator | None:
    try:
        found = json.loads(path.read_text())
        return Accelerator(str(found["name"]), str(found["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, found: Accelerator) -> None:
    """Keep it; a cache that cannot be written only costs the next test."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"name": found.name, "reason": found.reason}))
        temporary.rename(path)
    except OSError:
        return
