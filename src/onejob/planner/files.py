"""Which paths the read-only root holds, which are writable, and why.

Two layers: what the service only reads lies on the read-only root; a folder in which it was seen
to write lies on the data partition (or in memory, where Unix keeps temporary things), and starts as
a copy of what the root holds there.
"""

import posixpath
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from onejob.model.errors import InputError
from onejob.model.file_uses import file_reasons, is_code, is_written, write_reason
from onejob.model.paths import is_below, is_pseudo, resolve
from onejob.model.plan import LeftOut, Mount, PlannedFile
from onejob.model.profile import FileUse, Profile
from onejob.planner.commands import SET_ID
from onejob.planner.kernel_files import kernel_mounts

INIT_PATH = "/.onejob/init"
DATA_PATH = "/.onejob/data"
LOADER_CACHE = "/etc/ld.so.cache"
_HOSTS = "/etc/hosts"
VOLATILE = ("/run", "/tmp", "/var/tmp", "/var/run", "/dev/shm")
# A folder that holds programs or configuration of more than one thing must stay read-only.
_NEVER_WRITABLE = {"/", "/bin", "/boot", "/etc", "/lib", "/lib64", "/opt", "/root", "/sbin", "/srv",
                   "/usr", "/usr/bin", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/local",
                   "/usr/sbin", "/usr/share", "/var", "/var/lib", "/home"}  # fmt: skip
_TMPFS_KIB = 16 * 1024
_MAX_FILES = 200_000


def plan_mounts(profile: Profile) -> tuple[tuple[Mount, ...], tuple[str, ...]]:
    """What process 1 mounts, outermost first, and warnings about writes that will be refused."""
    volatile: dict[str, str] = {}
    data: dict[str, str] = {}
    warnings: list[str] = []
    measured = _measured_folders(profile)
    for file in profile.files:
        if not is_written(file) or (is_pseudo(file.path) and not is_below(file.path, "/dev/shm")):
            continue
        reason = f"{file.path} {write_reason(file)}"
        memory = next((root for root in VOLATILE if is_below(file.path, root)), None)
        folder = posixpath.dirname(file.path)
        if memory:
            volatile.setdefault(memory, reason)
        elif folder in _NEVER_WRITABLE:
            warnings.append(
                f"{file.path} stays read-only, though the service wrote it: it is in {folder}"
            )
        else:
            place = next((top for top in measured if is_below(folder, top)), folder)
            data.setdefault(place, reason)
    memory_mounts = (
        Mount(path=path, kind="tmpfs", reason=reason, size_kib=_TMPFS_KIB, mode=_tmpfs_mode(path))
        for path, reason in sorted(volatile.items())
    )
    data_mounts = (Mount(path=path, kind="data", reason=data[path]) for path in _outermost(data))
    fixed = kernel_mounts(profile, volatile)
    return (*fixed, *memory_mounts, *data_mounts), tuple(warnings)


def _measured_folders(profile: Profile) -> list[str]:
    """Folders whose free space the service may have asked for, outermost first.

    If it writes below one, that has to lie on the data partition as a whole: of the root, there is
    none left.
    """
    asked = {u.program for u in profile.calls if u.call_name == "statfs" and u.count > u.failed}
    code = [file.path for file in profile.files if is_code(file)]
    return sorted(
        file.path
        for file in profile.files
        if file.kind == "directory"
        and file.path not in _NEVER_WRITABLE
        and any(use.how == "looked-up" and use.program in asked for use in file.uses)
        and not any(is_below(path, file.path) for path in code)
    )


def _tmpfs_mode(path: str) -> int:
    return 0o755 if path in ("/run", "/var/run") else 0o1777


def _outermost(folders: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for folder in sorted(folders):
        if not any(is_below(folder, other) for other in kept):
            kept.append(folder)
    return kept


def plan_files(
    profile: Profile,
    mounts: tuple[Mount, ...],
    texts: Mapping[str, str],
    left_out: Iterable[LeftOut],
    extra: Iterable[PlannedFile] = (),
    set_id: Mapping[str, str] = MappingProxyType({}),
) -> tuple[tuple[PlannedFile, ...], tuple[str, ...]]:
    """The root's entries by path, and warnings. `texts` gives the bytes of some paths.

    What is `left_out` is not among them; `extra` entries are wanted as they are; of programs, those
    in `set_id` keep the bit of that name, for the reason given.
    """
    users, idle = needed_by(profile), {item.path for item in left_out}
    files: dict[str, PlannedFile] = {}
    warnings: list[str] = []
    for file in profile.files:
        if mount := _refused_program(file, mounts):
            warnings.append(f"{file.path} will not run: {mount.path} is writable, hence noexec")
        if file.path in idle or not _is_carried(file, mounts):
            continue
        planned = _planned(file, users.get(file.path, ()), texts)
        if planned.kind == "file":
            planned = _with_set_id(planned, set_id.get(file.path, ""))
        files[file.path] = _with_own_name(planned, profile.name)
        if file.kind == "file" and planned.origin == "host" and not file.mode & 0o004:
            warnings.append(
                f"the image carries {file.path}, which not everybody may read on the machine that"
                " was profiled: keep the image as private as that file"
            )
    files |= {entry.path: entry for entry in extra if entry.path not in files}
    for planned in _own_files(mounts):
        files.setdefault(planned.path, planned)
    _complete_folders(files, profile)
    if len(files) > _MAX_FILES:
        raise InputError(f"{len(files)} files, more than {_MAX_FILES}")
    return tuple(files[path] for path in sorted(files)), tuple(warnings)


def _with_set_id(file: PlannedFile, why: str) -> PlannedFile:
    mode = file.mode if why else file.mode & ~SET_ID
    return file.model_copy(update={"mode": mode, "set_id": why})


def _with_own_name(file: PlannedFile, name: str) -> PlannedFile:
    """The list of hosts with the image's own name, as an installed system has its own (hosts(5)).

    Otherwise whoever looks itself up asks a name server, which it did not when profiled.
    """
    if file.path != _HOSTS or file.origin != "host":
        return file
    reason = f"with 127.0.1.1 {name}: the name that the system gives itself"
    text = f"\n127.0.1.1 {name}\n"  # the host's last line may lack its end
    return file.model_copy(update={"text": text, "reasons": (*file.reasons, reason)})


def _is_carried(file: FileUse, mounts: tuple[Mount, ...]) -> bool:
    """Whether the root holds `file`: it was there before the run, and its content is needed."""
    if file.kind not in ("file", "directory", "symlink") or is_pseudo(file.path):
        return False
    mount = next((m for m in mounts if is_below(file.path, m.path) and m.path != "/"), None)
    if mount is None:
        return True
    if mount.kind != "data":
        # What lies in memory is gone at each boot, so only what has to be there first is a seed.
        return mount.path != file.path and (file.kind == "directory" or not is_written(file))
    return file.kind != "file" or not _is_only_output(file)


def _refused_program(file: FileUse, mounts: tuple[Mount, ...]) -> Mount | None:
    """The writable mount that `file` was executed or mapped from, if it was."""
    if not is_code(file) or is_pseudo(file.path):
        return None
    return next((mount for mount in mounts if is_below(file.path, mount.path)), None)


def _is_only_output(file: FileUse) -> bool:
    """A log or the like: written, never read; yesterday's content has no place in an image."""
    hows = {use.how for use in file.uses} - {"looked-up", "renamed-from", "changed", "removed"}
    return bool(hows) and hows <= {"written", "appended", "created", "renamed-to"}


def _planned(file: FileUse, needed_by: Iterable[str], texts: Mapping[str, str]) -> PlannedFile:
    named = (f"static: {by}" for by in file.named_by)
    reasons = (*file_reasons(file), *named, *(f"needed by {path}" for path in needed_by))
    if not reasons:
        reasons = (
            ("named by the workload's include",)
            if file.origin == "user"
            else ("a folder on the way of other files",)
        )
    base = PlannedFile(
        path=file.path,
        kind="directory",
        origin="none",
        reasons=reasons,
        mode=file.mode,
        uid=file.uid,
        gid=file.gid,
    )
    return base.model_copy(update=_content(file, texts))


def _content(file: FileUse, texts: Mapping[str, str]) -> dict[str, object]:
    """What sets an entry apart from a directory: its kind, and where its bytes come from."""
    if file.path in texts:
        return {"kind": "file", "origin": "text", "mode": 0o644, "text": texts[file.path]}
    if file.path == LOADER_CACHE:
        return {"kind": "file", "origin": "ldconfig", "mode": 0o644}
    if file.kind == "symlink":
        return {"kind": "symlink", "origin": "host", "mode": 0o777, "target": file.target}
    if file.kind == "directory":
        return {}
    return {
        "kind": "file",
        "origin": "host",
        "size": file.size,
        "modified": file.modified,
        "sha256": file.sha256,
        "package": file.package,
    }


def needed_by(profile: Profile) -> dict[str, tuple[str, ...]]:
    """Who needs a library or interpreter (ELF), by the path where the links end."""
    targets = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    found: dict[str, list[str]] = {}
    for file in profile.files:
        for path in (*file.needed, *([file.interpreter] if file.interpreter else ())):
            for step in resolve(path, targets):
                found.setdefault(step, []).append(file.path)
    return {path: tuple(sorted(set(users))) for path, users in found.items()}


def _own_files(mounts: tuple[Mount, ...]) -> list[PlannedFile]:
    """What every system carries: process 1, the mount points."""
    init = PlannedFile(
        path=INIT_PATH, kind="file", origin="native", native="onejob-init", mode=0o755,
        reasons=("process 1",),
    )  # fmt: skip
    folders = {DATA_PATH: "where the data partition is mounted"}
    folders |= {mount.path: f"{mount.kind} is mounted here" for mount in mounts}
    return [init, *(_folder(path, reason) for path, reason in sorted(folders.items()))]


def _complete_folders(files: dict[str, PlannedFile], profile: Profile) -> None:
    """Add the folders above every entry, as the profile knows them."""
    known = {file.path: file for file in profile.files if file.kind == "directory"}
    for path in list(files):
        while path != "/":
            path = posixpath.dirname(path)
            if path not in files:
                seen = known.get(path)
                files[path] = (
                    _planned(seen, (), {}) if seen else _folder(path, "on the way of others")
                )
    files.setdefault("/", _folder("/", "the root"))


def _folder(path: str, reason: str) -> PlannedFile:
    return PlannedFile(path=path, kind="directory", origin="none", mode=0o755, reasons=(reason,))
