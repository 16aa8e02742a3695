"""build/installer/installer.onejob: the installer's own image. ``make installer`` runs it.

`onejob install` is profiled as any job is, while it installs nginx from a sample kit. Its
medium and its target are loop devices, its kernel a stand-in, and nobody boots the result.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onejob.base.process import find_tool, run_tool
from onejob.bench.stand_in import with_kernel
from onejob.cli.main import run_as_program
from onejob.model.image import Image, open_image
from onejob.repository.kit import make_kit

PROJECT = Path(__file__).resolve().parents[1]
ONEJOB = PROJECT / ".venv/bin/onejob"
SAMPLE = PROJECT / "services/nginx/workload.toml"
HARDWARE = PROJECT / "hardware/qemu-q35-uefi.json"
# The sample needs 1.1 GiB or more, by what nginx logged in its drills.
DISK_BYTES = 4 * 1024**3
_LIMIT_S = 600
_ANSWERS = """\
service = "nginx"
repository = "{kit}/onejob"
trust = "{kit}/keys/root.json"

[disk]
path = "{work}/file.raw"
erase = true
"""


def make_installer(folder: Path) -> None:
    """Profile `onejob install` in the new `folder`, and build its image there for any PC."""
    shutil.rmtree(folder, ignore_errors=True)
    work = folder / "work"
    work.mkdir(parents=True)
    (folder / "onejob").symlink_to(ONEJOB)
    shutil.copy(PROJECT / "jobs/installer/workload.toml", folder)
    shutil.copy(HARDWARE, work / "hardware.json")
    kit, image = work / "kit", sample_image(work)
    make_kit(kit, image, image)
    (work / "answers.toml").write_text(_ANSWERS.format(kit=kit, work=work))
    sparse(work / "file.raw")
    medium, disk = make_medium(kit, work / "medium.img"), sparse(work / "disk.raw")
    with loop(medium, work / "stick", "--read-only"), loop(disk, work / "disk"):
        onejob("profile", "--workload", folder / "workload.toml", "-o", folder / "profile.xml")
    words = ("--hardware", "pc", *sys.argv[1:], "-o", folder / "installer.onejob")
    onejob("build", folder / "profile.xml", *words)


def sample_image(work: Path) -> Image:
    """An image with links and accounts; only its configuration speaks for its kernel."""
    profile, image = work / "sample.profile.xml", work / "sample.onejob"
    onejob("profile", "--workload", SAMPLE, "-o", profile)
    onejob("build", profile, "--without-kernel", "--hardware", HARDWARE, "-o", image)
    made = open_image(image)
    return with_kernel(made, made.plan.kernel_options)


def make_medium(kit: Path, target: Path) -> Path:
    """The medium `target` with the kit, and what vouches for it.

    Of the file systems of media ext4 is the one that every machine's kernel has.
    """
    folder = target.with_suffix("") / "onejob"
    shutil.copytree(kit / "onejob", folder)
    shutil.copy(kit / "keys/root.json", folder)
    mke2fs = find_tool("mke2fs", "e2fsprogs")
    words: list[str | Path] = ["-q", "-t", "ext4", "-d", folder.parent, target, "64M"]
    run_tool([mke2fs, *words], timeout=_LIMIT_S)
    return target


def sparse(path: Path) -> Path:
    """The new empty file `path`."""
    with path.open("xb") as file:
        file.truncate(DISK_BYTES)
    return path


@contextmanager
def loop(file: Path, link: Path, *words: str) -> Iterator[None]:
    """`file` as a block device that `link` points to."""
    losetup = find_tool("losetup", "mount")
    device = run_tool([losetup, "--find", "--show", *words, file], timeout=_LIMIT_S).strip()
    link.symlink_to(device)
    try:
        yield
    finally:
        run_tool([losetup, "--detach", device], timeout=_LIMIT_S)


def onejob(*words: str | Path) -> None:
    """Run the command line, and end as it does where it fails."""
    done = subprocess.run([ONEJOB, *words], check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    sys.exit(run_as_program(lambda: make_installer(PROJECT / "build/installer")))
