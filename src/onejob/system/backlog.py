"""How many clients may wait for a port that QEMU's user network forwards.

It listens with a backlog of 1 (libslirp, src/socket.c), so of clients that come at once the third
is told nothing, and asks again after a second: they are never a crowd. The queue belongs to the
socket and not to who made it: listen(2) again, by a copy of QEMU's descriptor (pidfd_getfd(2)).
"""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from onejob.base.linux import pidfd_getfd
from onejob.system.network import inodes_listening, link_text

BACKLOG = 4096  # what net.core.somaxconn of this host cuts it to


def widen_backlogs(pid: int, ports: Iterable[int]) -> None:
    """Process `pid`, ours, listens on these ports of this host: let as many wait as may.

    Left as it is where the kernel does not let us (a guard such as yama's): slower, not wrong.
    """
    wanted = {f"socket:[{inode}]" for port in ports for inode in inodes_listening(port)}
    with suppress(OSError):
        process = os.pidfd_open(pid)
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                if link_text(Path(f"/proc/{pid}/fd", name)) in wanted:
                    _listen_again(pidfd_getfd(process, int(name)))
        finally:
            os.close(process)


def _listen_again(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as copied:
        copied.listen(BACKLOG)
