"""A workload's service in a stock guest's root: started by systemd as the workload says.

The same binaries under the same command, environment and user as in our image; whatever the
packages would have started by themselves is switched off.
"""

import shutil
from pathlib import Path

from onejob.model.workload import Workload

UNIT = "workload.service"
_WANTS = "etc/systemd/system/multi-user.target.wants"


def install_service(root: Path, workload: Workload) -> None:
    """Write its unit and folders, enable it, and carry the host's files that its words name."""
    wants = root / _WANTS
    wants.mkdir(parents=True, exist_ok=True)
    for link in wants.glob("*.service"):
        if not link.name.startswith("systemd-"):
            link.unlink()
    unit = root / "etc/systemd/system" / UNIT
    unit.write_text(unit_text(workload))
    (wants / UNIT).symlink_to(f"/etc/systemd/system/{UNIT}")
    folders = root / "etc/tmpfiles.d/workload.conf"
    folders.parent.mkdir(parents=True, exist_ok=True)
    folders.write_text(folders_text(workload))
    for path in (*workload.include, *workload.command):
        if path.startswith("/") and not (root / path[1:]).exists():
            _carry(Path(path), root / path[1:])


def _carry(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    elif source.is_file():
        shutil.copy2(source, target)


def unit_text(workload: Workload) -> str:
    """The unit (systemd.service(5)); everything that is not said is as the distribution has it."""
    lines = ["[Unit]", "After=network.target", "[Service]"]
    lines += [f"ExecStart={' '.join(quoted(word) for word in workload.command)}"]
    lines += [
        f"Environment={quoted(f'{name}={value}', dollars=False)}"
        for name, value in sorted(workload.environment.items())
    ]
    lines += [f"User={workload.user}", f"WorkingDirectory={workload.directory}"]
    lines += [f"KillSignal=SIG{workload.stop.signal}"]
    return "\n".join([*lines, "[Install]", "WantedBy=multi-user.target"]) + "\n"


def quoted(word: str, *, dollars: bool = True) -> str:
    """A word of a unit's command line (systemd.syntax(7)); in others a dollar stays what it is."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{text.replace("$", "$$") if dollars else text}"'


def folders_text(workload: Workload) -> str:
    """The workload's folders (tmpfiles.d(5))."""
    return "".join(
        f"d {folder.path} {folder.mode:04o} {folder.user} {folder.group}\n"
        for folder in workload.folders
    )
