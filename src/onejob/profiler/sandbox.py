"""A throw-away view of this machine: the service runs on the real files, and changes none of them.

Run as a program, it enters its own mount namespace (and network namespace with only a loopback),
lays an overlay with a RAM upper layer over every file system, and becomes the given command. What
the service writes, renames and removes is gone with it; the host stays as it was, which is also
the state that an image has to start from.
"""

import argparse
import fcntl
import os
import pwd
import re
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from onejob.base import linux
from onejob.base.accounts import group_of, identity_of
from onejob.base.user_namespace import drop_capabilities
from onejob.model.workload import Folder

# File systems that are the kernel's own view, shared rather than overlaid.
_PSEUDO = {
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts",
    "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore",
    "securityfs", "sysfs", "tracefs",
}  # fmt: skip
_OLD = "old"  # in the run's folder: where the old root is until it is unmounted
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


class MountPoint(NamedTuple):
    """A row of /proc/self/mountinfo."""

    path: str
    kind: str


def sandbox_command(
    folder: Path, private_network: bool, directory: str, folders: Iterable[Folder] = ()
) -> list[str]:
    """The words to put, with ``--``, before a command so that it runs in a sandbox, in `directory`.

    `folder` is an existing empty directory; its subfolder ``keep`` is shared with the host, and is
    where the command leaves what must survive. `folders` are made first.
    """
    # Isolated (-I): neither the service's environment nor the folder that we are in concern Python.
    words = [sys.executable, "-I", "-m", "onejob.profiler.sandbox", "--folder", str(folder)]
    words += ["--directory", directory]
    for wanted in folders:
        owner = f"{identity_of(wanted.user).uid}:{group_of(wanted.group)}"
        words += ["--make", f"{wanted.mode:o}:{owner}:{wanted.path}"]
    return [*words, *(["--private-network"] if private_network else [])]


def read_mounts(text: str) -> list[MountPoint]:
    """The rows of a mountinfo file, in order (proc(5)); octal escapes undone."""
    rows = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        path = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), left.split(" ")[4])
        rows.append(MountPoint(path, right.split(" ")[0]))
    return rows


def enter(folder: Path, private_network: bool, directory: str) -> None:
    """Move this process into the throw-away view.

    Whoever is not root can change only what is his, and the service's `directory`.
    """
    mounts = read_mounts(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    linux.unshare(linux.CLONE_NEWNS | (linux.CLONE_NEWNET if private_network else 0))
    linux.mount("none", Path("/"), "", linux.MS_REC | linux.MS_PRIVATE)
    if private_network:
        _bring_loopback_up()
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    (folder / _OLD).mkdir(exist_ok=True)
    linux.mount("onejob", scratch, "tmpfs")
    new_root = scratch / "root"
    new_root.mkdir()
    if os.geteuid() == 0:
        _overlay("/", new_root, scratch, 0)
        for number, mount in enumerate(mounts, 1):
            if mount.path != "/" and not Path(mount.path).is_relative_to(folder):
                _repeat(mount, new_root, scratch, number)
    else:
        _protect_all(mounts, new_root)
        for number, own in enumerate(_own_folders([directory, str(folder.parent)]), 1):
            with suppress(OSError):  # such as one with mounts below it: it stays read-only
                _overlay(own, new_root / own.lstrip("/"), scratch, number)
    _bind(str(folder / "keep"), new_root / folder.relative_to("/") / "keep")
    _become_root(new_root, folder)


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _overlay(lower: str, target: Path, scratch: Path, number: int) -> None:
    upper, work = scratch / f"upper{number}", scratch / f"work{number}"
    upper.mkdir()
    work.mkdir()
    status = os.stat(lower)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if os.geteuid() == 0:
        os.chown(upper, status.st_uid, status.st_gid)
    else:
        options += ",userxattr"  # in a user namespace it may have no other
    upper.chmod(status.st_mode & 0o7777)
    linux.mount("onejob", target, "overlay", 0, options)


def _bind(source: str, target: Path) -> None:
    linux.mount(source, target, "", linux.MS_BIND)


def _repeat(mount: MountPoint, new_root: Path, scratch: Path, number: int) -> None:
    """Give the new root what is mounted at `mount`; a mount point that is hidden is left out."""
    target = new_root / mount.path.lstrip("/")
    if not (target.exists() and os.path.exists(mount.path)):
        return
    if mount.kind in _PSEUDO:
        _bind(mount.path, target)
        return
    if target.is_dir() and not re.search(r"[:,\\]", mount.path):
        # Not every file system can be a lower layer.
        with suppress(OSError):
            _overlay(mount.path, target, scratch, number)
            return
    _bind(mount.path, target)
    _make_read_only(target)


def _make_read_only(target: Path) -> None:
    flags = os.statvfs(target).f_flag & (linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    flags |= linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
    linux.mount("none", target, "", flags)


def _protect_all(mounts: Iterable[MountPoint], new_root: Path) -> None:
    """Give the new root all that is mounted, read-only.

    In a user namespace mounts can only be taken along together, so that none uncovers what it hides
    (mount_namespaces(7)); no overlay can have them below it.
    """
    linux.mount("/", new_root, "", linux.MS_BIND | linux.MS_REC)
    for mount in mounts:
        target = new_root / mount.path.lstrip("/")
        if mount.kind not in _PSEUDO and os.path.ismount(target):
            _make_read_only(target)


def _own_folders(also: Iterable[str]) -> list[str]:
    """Where the service of whoever is not root may write: what is his, and what is everybody's."""
    wanted = ["/tmp", "/var/tmp", "/dev/shm", f"/run/user/{os.getuid()}", *also]
    with suppress(KeyError):  # a user without an account
        wanted.append(pwd.getpwuid(os.getuid()).pw_dir)
    paths = sorted({os.path.realpath(path) for path in wanted})  # what holds another comes first
    found: list[str] = []
    for path in paths:
        covered = any(_is_covered(Path(path), Path(other)) for other in found)
        if os.path.isdir(path) and os.access(path, os.W_OK) and not covered:
            found.append(path)
    return found


def _is_covered(path: Path, by: Path) -> bool:
    """Whether an overlay over `by` lets files of `path` change.

    It copies the folders on the way, which works for one's own only: the others' owners are unknown
    in the user namespace.
    """
    if not path.is_relative_to(by):
        return False
    between = [path, *path.parents][: len(path.parts) - len(by.parts)]
    return all(folder.stat().st_uid == os.getuid() for folder in between)


def _become_root(new_root: Path, folder: Path) -> None:
    old = folder / _OLD
    linux.pivot_root(new_root, new_root / old.relative_to("/"))
    os.chdir("/")
    linux.unmount(old, linux.MNT_DETACH)


def _make_folder(words: str) -> None:
    """``MODE:UID:GID:PATH``: see that this folder is there, with this owner and mode."""
    mode, uid, gid, path = words.split(":", 3)
    os.makedirs(path, exist_ok=True)
    os.chown(path, int(uid), int(gid))
    os.chmod(path, int(mode, 8))


def _become_user(words: str) -> None:
    """``UID:GID:GROUP,GROUP...``: be that from now on."""
    uid, gid, groups = words.split(":")
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(*[int(gid)] * 3)
    os.setresuid(*[int(uid)] * 3)


def _given_environment() -> dict[bytes, bytes]:
    """What we were started with.

    Python itself adds LC_CTYPE (PEP 538) to os.environ, and the service would load a locale.
    """
    given = Path("/proc/self/environ").read_bytes().split(b"\0")
    return dict(item.split(b"=", 1) for item in given if b"=" in item)


def _become(command: list[str], variables: dict[bytes, bytes]) -> None:
    """Execute `command` as if Python had never been there."""
    if os.geteuid() != 0:
        drop_capabilities()
    linux.reset_signals()  # Python ignores some, and so may whoever started us
    os.execvpe(command[0], command, variables)


def main() -> None:
    """Enter the sandbox and become the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--private-network", action="store_true")
    parser.add_argument("--directory", default="/")
    parser.add_argument("--make", action="append", default=[], metavar="MODE:UID:GID:PATH")
    parser.add_argument("--user", metavar="UID:GID:GROUPS")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--tell", type=int, help="descriptor for the mount namespace; it closes at the exec"
    )
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        variables = _given_environment()  # another user may not read it any more
        variables |= dict(os.fsencode(setting).split(b"=", 1) for setting in options.set)
        enter(options.folder, options.private_network, options.directory)
        for words in options.make:
            _make_folder(words)
        if options.user:
            _become_user(options.user)
        os.chdir(options.directory)
        if options.tell is not None:
            os.write(options.tell, os.readlink("/proc/self/ns/mnt").encode())
            os.set_inheritable(options.tell, False)
        _become(options.command, variables)
    except OSError as error:
        sys.exit(f"sandbox: {error}")


if __name__ == "__main__":
    main()
