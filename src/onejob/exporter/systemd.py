"""An image as a portable service of systemd: a squashfs with its unit, and the data that it keeps.

Sources: systemd's portable service documentation, portablectl(1), systemd.exec(5) (RootImage=,
RootVerity=), os-release(5).
"""

import hashlib
import subprocess
import tempfile
import uuid
from pathlib import Path

from onejob.base.process import find_tool, run_tool
from onejob.base.root_files import Entry, file_entry, folder_entry, root_entries, write_tar
from onejob.disk.options import Options
from onejob.exporter.form import Export
from onejob.exporter.unit import STATE, unit_text
from onejob.model.errors import BuildError
from onejob.model.image import Image
from onejob.model.plan import Plan

PROFILE = "portable-profile.conf"
STATE_TAR = "state.tar"
_UNITS = "/usr/lib/systemd/system"
_LIMIT_S = 600
# What systemd mounts something on; an image without one of them is not started.
_FOLDERS = ("/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/usr", "/usr/lib", "/var", "/var/tmp")
# All that it needs is in its unit; systemd's own profiles would take or add rights.
_PROFILE_TEXT = "[Service]\nMountAPIVFS=yes\n"


def export_systemd(image: Image, folder: Path, _options: Options) -> Export:
    """Fill the new `folder`."""
    plan = image.plan
    entries = list(root_entries(image))
    kept = kept_folders(plan, entries)
    raw = folder / f"{plan.name}.raw"
    pack(with_unit(plan, entries, unit_text(plan, kept)), raw)
    add_verity(raw)
    (folder / f"{plan.name}.service").write_text(unit_text(plan, kept))
    (folder / PROFILE).write_text(_PROFILE_TEXT)
    steps = f"""\
    install -D -m 644 {PROFILE} /etc/systemd/portable/profile/onejob/service.conf
"""
    if kept:
        with (folder / STATE_TAR).open("wb") as file:
            write_tar(file, entries, lambda entry: _is_below(entry.path, kept))
        steps += f"""\
    mkdir -p {STATE}/{plan.name}                    # once: its data, with the first content
    tar -C {STATE}/{plan.name} --same-owner -xpf {STATE_TAR}
"""
    steps += f"""\
    portablectl attach --profile=onejob --enable --now ./{plan.name}.raw

The unit, which is in the image, carries all restrictions; `{plan.name}.service` is a copy to read
(`systemd-analyze security {plan.name}.service`). `{plan.name}.verity` and `{plan.name}.roothash`
have to stay beside `{plan.name}.raw`: systemd checks each block by them (dm-verity).

systemd restricts the service as one: its calls are those of all its programs in both phases, it
has no Landlock grants, logs are not append-only, and denied calls are not counted. As an OCI image,
or in a machine of its own, process 1 does all that.
"""
    return Export("portable service", steps)


def kept_folders(plan: Plan, entries: list[Entry]) -> tuple[str, ...]:
    """Folders that lie on the host: those of the data, and those in memory that begin with content.

    systemd's temporary file systems begin empty.
    """
    mounted = {mount.path for mount in plan.mounts}
    kept = []
    for mount in plan.mounts:
        seeds = (entry.path for entry in entries if entry.path not in mounted)
        seeded = any(path.startswith(f"{mount.path}/") for path in seeds)
        below_mount = any(path.startswith(f"{mount.path}/") for path in mounted)
        if mount.kind == "data" or (mount.kind == "tmpfs" and seeded and not below_mount):
            kept.append(mount.path)
    return tuple(kept)


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    """Also what leads there."""
    return any(
        f"{folder}/".startswith(f"{path}/") or path.startswith(f"{folder}/") for folder in folders
    )


def with_unit(plan: Plan, entries: list[Entry], unit: str) -> list[Entry]:
    """The files of the root, with what makes them a portable service, in the order of the paths."""
    found = {entry.path: entry for entry in entries}
    text = f'ID=onejob\nNAME="onejob: {plan.name}"\nPORTABLE_PREFIXES={plan.name}\n'
    for path in (*_FOLDERS, "/usr/lib/systemd", _UNITS):
        found.setdefault(path, folder_entry(path))
    added = [
        file_entry("/usr/lib/os-release", text.encode()),
        file_entry(f"{_UNITS}/{plan.name}.service", unit.encode()),
    ]
    found |= {entry.path: entry for entry in added}
    for empty in ("/etc/machine-id", "/etc/resolv.conf"):
        found.setdefault(empty, file_entry(empty, b""))
    return [found[path] for path in sorted(found)]


def pack(entries: list[Entry], target: Path) -> None:
    """Pack entries as squashfs: same entries, same bytes."""
    tool = find_tool("tar2sqfs", "squashfs-tools-ng")
    command = [tool, "--quiet", "--compressor=zstd", "--block-size=262144", "--num-jobs=1"]
    command += ["--defaults=mtime=0,uid=0,gid=0,mode=0755", str(target)]
    with tempfile.TemporaryFile() as archive:
        write_tar(archive, entries)
        archive.seek(0)
        done = subprocess.run(command, stdin=archive, capture_output=True, timeout=_LIMIT_S)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip() or "it printed nothing"
        raise BuildError(f"tar2sqfs failed ({done.returncode}): {words.splitlines()[-1]}")


def add_verity(raw: Path) -> None:
    """NAME.verity and NAME.roothash beside NAME.raw, with salt and UUID made of its content."""
    tool = find_tool("veritysetup", "cryptsetup-bin")
    with raw.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    words = ["format", str(raw), str(raw.with_suffix(".verity")), f"--salt={digest.hex()}"]
    words += [f"--uuid={uuid.UUID(bytes=digest[:16], version=4)}"]
    words += [f"--root-hash-file={raw.with_suffix('.roothash')}"]
    run_tool([tool, *words], timeout=_LIMIT_S)
