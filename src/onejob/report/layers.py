"""The two layers of an image's file system: what the service sees, and on which device it lies.

The logical layer is the one tree of paths that the service knows. Each entry of it lies on a
device: the read-only root, the data partition, memory, or in the kernel alone.
"""

import posixpath
import stat
from collections.abc import Iterable
from typing import NamedTuple

from onejob.model.errors import InputError
from onejob.model.file_uses import WRITES, file_reasons, is_written
from onejob.model.paths import is_below, resolve
from onejob.model.plan import Mount, Plan, PlannedFile
from onejob.model.profile import FileUse, Profile
from onejob.report.overview import Table

_TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK}
_MADE = {"created", "renamed-to", "bound"}


class Entry(NamedTuple):
    """A name in a directory, as the service finds it.

    `device` says where it lies, `rights` type and mode as ls(1) has them, and owner; empty where
    they are made only when the system runs. `writers` are the programs that were seen to change it.
    """

    path: str
    device: str
    rights: str
    writers: tuple[str, ...]
    reason: str


def list_folder(plan: Plan, profile: Profile, folder: str) -> tuple[Entry, ...]:
    """The entries of `folder`, itself first, by name; symbolic links on the way are followed.

    InputError where the service has no such directory.
    """
    tree = _Tree(plan, profile)
    path = tree.directory(folder)
    inside = sorted(child for child in tree.paths if _parent(child) == path)
    return tuple(tree.entry(each) for each in (path, *inside))


def devices_table(plan: Plan) -> Table:
    """The whole mapping: each mount with its device and the rules that hold on it."""
    rows = [("/", _device(plan, None), "read-only", "all that no other line has")]
    rows += [
        (mount.path, _device(plan, mount), _rules(plan, mount), mount.reason)
        for mount in plan.mounts
    ]
    return Table("where paths lie", ("from", "device", "rules", "reason"), tuple(rows))


def grants_table(plan: Plan, folder: str = "/") -> Table:
    """Which program may change or execute what at `folder`, below it or above it, and why."""
    init = next((file.path for file in plan.files if file.native == "onejob-init"), "")
    rows = tuple(
        (posixpath.basename(grant.program), grant.path, " ".join(grant.rights), grant.reason)
        for grant in plan.grants
        if grant.program != init and (is_below(grant.path, folder) or is_below(folder, grant.path))
    )
    return Table("who may change what", ("program", "below", "may", "reason"), rows)


def entries_table(folder: str, entries: Iterable[Entry]) -> Table:
    """Entries as a table."""
    rows = tuple(
        (
            each.path if each.path == folder else posixpath.basename(each.path),
            each.device,
            each.rights,
            ", ".join(each.writers),
            each.reason,
        )
        for each in entries
    )
    return Table(folder, ("name", "device", "rights", "changed by", "reason"), rows)


class _Tree:
    """All paths of an image: planned, mounted, and those that the service makes."""

    def __init__(self, plan: Plan, profile: Profile) -> None:
        self._plan = plan
        self._planned = {file.path: file for file in plan.files}
        self._targets = {f.path: f.target for f in plan.files if f.kind == "symlink"}
        self._mounts = {mount.path: mount for mount in plan.mounts}
        self._logs = {log.path: log for log in plan.logs}
        self._seen = {file.path: file for file in profile.files}
        self._names = {account.uid: account.name for account in profile.accounts}
        self._groups = {group.gid: group.name for group in profile.groups}
        made = (file.path for file in profile.files if self._is_made(file))
        self.paths = {"/", *self._planned, *self._mounts, *made}
        for path in list(self.paths):
            while path != "/":
                path = _parent(path)
                self.paths.add(path)

    def _is_made(self, file: FileUse) -> bool:
        """Whether the service makes it, in a place where it can."""
        mount = self._mount_of(file.path)
        ways = {use.how for use in file.uses}
        return mount is not None and mount.kind in ("data", "tmpfs") and bool(ways & _MADE)

    def _mount_of(self, path: str) -> Mount | None:
        """The innermost mount that `path` lies on; the root's is none."""
        over = [mount for mount in self._plan.mounts if is_below(path, mount.path)]
        return max(over, key=lambda mount: len(mount.path), default=None)

    def directory(self, folder: str) -> str:
        """Where `folder` is, once links are followed."""
        if not folder.startswith("/"):
            raise InputError(f"{folder!r} is no absolute path", "give it as the service knows it")
        path = resolve(folder, self._targets)[-1]
        planned = self._planned.get(path)
        below = any(_parent(other) == path for other in self.paths)
        if path not in self.paths or (not below and planned and planned.kind != "directory"):
            near = next(up for up in _parents(path) if up in self.paths)
            raise InputError(
                f"{folder} is no directory of {self._plan.name}", f"there is {near}; list that"
            )
        return path

    def entry(self, path: str) -> Entry:
        """What is known of one path."""
        planned, seen, mount = self._planned.get(path), self._seen.get(path), self._mount_of(path)
        return Entry(
            path=path,
            device=_device(self._plan, mount),
            rights=self._rights(planned) if planned and not self._is_mounted(path) else "",
            writers=_writers(seen) if seen else (),
            reason=self._reason(path, planned, seen),
        )

    def _is_mounted(self, path: str) -> bool:
        """Whether what the root has there is hidden by the kernel's own files."""
        mount = self._mount_of(path)
        return mount is not None and mount.kind not in ("data", "tmpfs")

    def _rights(self, planned: PlannedFile) -> str:
        user = self._names.get(planned.uid, "root" if not planned.uid else str(planned.uid))
        group = self._groups.get(planned.gid, "root" if not planned.gid else str(planned.gid))
        mode = stat.filemode(_TYPES[planned.kind] | planned.mode)
        target = f" -> {planned.target}" if planned.target else ""
        return f"{mode} {user}:{group}{target}"

    def _reason(self, path: str, planned: PlannedFile | None, seen: FileUse | None) -> str:
        if mount := self._mounts.get(path):
            return mount.reason
        if log := self._logs.get(path):
            return log.reason
        if planned and planned.reasons:
            return planned.reasons[0]
        if seen and is_written(seen):
            return next(text for text in file_reasons(seen) if text.split()[0] in WRITES)
        return "on the way of others"


def _device(plan: Plan, mount: Mount | None) -> str:
    if mount is None:
        return f"root ({plan.machine.root_device})"
    if mount.kind == "data":
        return f"data ({plan.machine.data_device or 'none'})"
    return "memory" if mount.kind == "tmpfs" else f"kernel ({mount.kind})"


def _rules(plan: Plan, mount: Mount) -> str:
    """What process 1 mounts it with (native/init/src/mounts.rs)."""
    size = f", at most {mount.size_kib} KiB" if mount.size_kib else ""
    size += f", logs have at most {plan.share_kib} KiB together" if mount.share else ""
    nodev = "" if mount.kind == "devtmpfs" else "nodev, "
    read_only = mount.read_only or mount.kind == "sysfs"
    return f"{'read-only, ' if read_only else ''}nosuid, {nodev}noexec{size}"


def _writers(seen: FileUse) -> tuple[str, ...]:
    return tuple(sorted({posixpath.basename(u.program) for u in seen.uses if u.how in WRITES}))


def _parent(path: str) -> str:
    return posixpath.dirname(path) if path != "/" else ""


def _parents(path: str) -> Iterable[str]:
    while path != "/":
        path = posixpath.dirname(path)
        yield path
