"""Benchmark ``installer``: from the start of the medium to the installed service's first answer.

One PC in QEMU, emulated, with an empty disk: the installer boots from its medium, makes the system
for that hardware, writes it and starts the machine again; then it starts from the disk alone.
"""

import tempfile
from pathlib import Path

from onejob.base.progress import Progress
from onejob.bench.installation import SERVER, install, installed, make_medium, new_disk
from onejob.bench.promises import INSTALLATION
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.drive.ready import wait_ready
from onejob.repository.kit import make_kit

LIMIT_S = 900.0


def measure_installer(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """Seconds of a whole unattended installation, once: it is long enough to be one figure."""
    progress.stage("installer")
    image, workload = subject.image, subject.workload
    with tempfile.TemporaryDirectory(prefix="onejob-") as name:
        folder = Path(name)
        progress.step("kit and medium", 0)
        kit = make_kit(folder / "kit", image, image)
        trust = folder / "kit/keys/root.json"
        medium = make_medium(subject.installer, kit, trust, image.plan.name, folder / "medium")
        medium_bytes = medium.stat().st_size
        disk = new_disk(folder / "disk.raw")
        progress.step(f"install ({SERVER})", 0.1)
        since, _ = install(SERVER, disk, medium, LIMIT_S)
        progress.step("start from the disk", 0.8)
        with installed(SERVER, disk, workload.ports) as guest:
            installing = guest.since - since
            answered = wait_ready(guest.target, workload, guest.since)
    values = (
        Value(name="from the medium", value=installing, unit="s"),
        Value(name="from the disk", value=answered, unit="s"),
        Value(name="medium", value=medium_bytes / 1e6, unit="MB"),
    )
    return (judge(INSTALLATION, installing + answered, values),)
