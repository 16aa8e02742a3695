"""The stock guest: the same service on the distribution as it comes, to boot against ours.

Made by debootstrap from this machine's own package source: distribution kernel and initrd, systemd,
the workload's packages, nothing tuned. Where a choice had to be made, it is the quicker one: a
network address without DHCP, no first-boot setup, nobody to log in.
"""

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from onejob.base.linux import need_root
from onejob.base.natives import cache_path
from onejob.base.process import find_tool, run_tool
from onejob.base.progress import Progress
from onejob.bench.debootstrap import make_root
from onejob.bench.sources import Source, find_source
from onejob.bench.stock_service import folders_text, install_service, unit_text
from onejob.model.errors import BuildError, LacksError
from onejob.model.workload import Workload
from onejob.system.guest import ADDRESS

RECIPE = 2  # to be raised when what is made here changes
# 6.1's cloud flavour and others are smaller, but not what a Debian installation gets.
SYSTEM = ("linux-image-amd64", "systemd-sysv", "udev", "dbus")
SPARE_BYTES = 256 * 1024 * 1024
MKFS_TIMEOUT_S = 300.0
CHROOT_TIMEOUT_S = 60.0

_NETWORK = f"""[Match]
Name=en* eth*
[Network]
Address={ADDRESS}/24
Gateway=10.0.2.2
LinkLocalAddressing=no
"""


class StockGuest(NamedTuple):
    """A stock guest on disk; `disk` is a raw ext4 image, to be booted with a throw-away overlay."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """The distribution's kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Its initial RAM disk."""
        return self.folder / "initrd.img"

    @property
    def disk(self) -> Path:
        """The root file system."""
        return self.folder / "root.img"


def find_stock_guest(workload: Workload, progress: Progress) -> StockGuest:
    """The stock guest that runs `workload`, from the cache or made now (some minutes).

    LacksError where this machine has no debootstrap, no package source or is not root; BuildError
    where making it fails, which leaves nothing behind.
    """
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    source = find_source(release)
    wanted = (*SYSTEM, *workload.packages)
    guest = StockGuest(cache_path() / f"stock-{stock_key(source, wanted, workload)}")
    if guest.disk.is_file():
        return guest
    need_root("making a stock guest")
    tools = [find_tool("debootstrap", "debootstrap"), find_tool("mkfs.ext4", "e2fsprogs")]
    progress.stage("making a stock guest to compare with, once")
    with _workshop(guest.folder) as shop:
        root = shop / "root"
        make_root(tools[0], source, wanted, root, progress)
        progress.step("setting it up")
        set_up(root)
        install_service(root, workload)
        made = StockGuest(shop / "guest")
        made.folder.mkdir()
        take_kernel(root, made)
        progress.step("making its disk")
        make_disk(tools[1], root, made.disk)
        os.replace(made.folder, guest.folder)
    return guest


def stock_key(source: Source, packages: tuple[str, ...], workload: Workload) -> str:
    """By what a stock guest is kept: everything that it is made from."""
    service = [unit_text(workload), folders_text(workload)]
    text = json.dumps([RECIPE, source, sorted(packages), _NETWORK, service])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _workshop(destination: Path) -> Iterator[Path]:
    """A folder beside `destination` for what is being made; gone at the end."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        shop = Path(tempfile.mkdtemp(prefix=".onejob-stock-", dir=destination.parent))
    except OSError as error:
        hint = "make room, or set ONEJOB_CACHE"
        raise LacksError(f"cannot write {destination.parent}: {error.strerror}", hint) from error
    try:
        shop.chmod(0o755)  # apt's and the service's own users pass through it
        yield shop
    except OSError as error:
        raise LacksError(f"stock guest in {shop}: {error.strerror}", "make room") from error
    finally:
        shutil.rmtree(shop, ignore_errors=True)


def set_up(root: Path) -> None:
    """What an installer would have done: names, file systems, network; package files dropped."""
    texts = {
        "etc/hostname": "stock\n",
        "etc/hosts": "127.0.0.1 localhost stock\n",
        "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n",
        # With an identity it does not take its first boot for one, and skip to the usual.
        "etc/machine-id": hashlib.md5(b"stock", usedforsecurity=False).hexdigest() + "\n",
        "etc/systemd/network/10-virtio.network": _NETWORK,
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    chroot = find_tool("chroot", "coreutils")
    enable = ["systemctl", "enable", "systemd-networkd"]
    run_tool([chroot, root, *enable], timeout=CHROOT_TIMEOUT_S)
    for archive in (root / "var/cache/apt/archives").glob("*.deb"):
        archive.unlink()


def take_kernel(root: Path, guest: StockGuest) -> None:
    """Kernel and initrd out of the root; BuildError where there is not one of each."""
    for pattern, target in (("vmlinuz-*", guest.kernel), ("initrd.img-*", guest.initrd)):
        found = list((root / "boot").glob(pattern))
        if len(found) != 1:
            raise BuildError(f"the stock guest has {len(found)} files boot/{pattern}, not 1")
        shutil.copyfile(found[0], target)


def make_disk(mkfs: str, root: Path, disk: Path) -> None:
    """A raw ext4 image of `root` with some room, without mounting anything."""
    size = tree_bytes(root) + SPARE_BYTES
    with disk.open("xb") as file:
        os.truncate(file.fileno(), size)
    run_tool([mkfs, "-q", "-F", "-d", root, disk], timeout=MKFS_TIMEOUT_S)


def tree_bytes(root: Path) -> int:
    """What everything below `root` takes, each rounded up to blocks and with its inode."""
    names = (Path(f, name) for f, dirs, files in os.walk(root) for name in (*dirs, *files))
    return sum(-(-name.lstat().st_size // 4096) * 4096 + 512 for name in names)
