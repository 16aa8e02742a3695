"""Benchmark ``gallery``: each service of the gallery as an image, rehearsed here and in QEMU."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from onejob.base.files import write_atomically
from onejob.base.natives import cache_path, data_path
from onejob.base.progress import Progress
from onejob.bench.promises import GALLERY_FAILS
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.builder.image import build_image, image_facts
from onejob.cli.plan import plan_for
from onejob.model.image import Image, open_image
from onejob.model.jsonfile import load_json, to_json
from onejob.model.noun import Noun
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile, write_profile
from onejob.model.workload import load_workload, workload_text
from onejob.planner.choices import USUAL
from onejob.profiler.profile import take_profile
from onejob.system.rehearse import RehearsalReport, Where, rehearse

HARDWARE = "qemu-microvm"


class Rehearsed(Noun):
    """How one rehearsal went: what was found first, empty where it passed."""

    found: str
    requests: int
    denials: int


class Row(Noun):
    """One image and its two rehearsals; `root` and `kernel` say by their hashes which it was."""

    service: str
    root: str
    kernel: str
    kernel_options: str
    calls: int
    files: int
    bytes: int
    memory_mib: int
    host: Rehearsed
    guest: Rehearsed


def measure_gallery(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """All of it anew, which takes about an hour where its kernels have to be built."""
    with tempfile.TemporaryDirectory(prefix="onejob-gallery-") as folder:
        rows = tuple(rehearse_gallery(Path(folder), progress))
    return judge_gallery(rows)


def judge_gallery(rows: tuple[Row, ...]) -> tuple[Result, ...]:
    """How many rehearsals did not pass, and what the images are."""
    failed = sum(bool(found) for row in rows for found in (row.host.found, row.guest.found))
    values = [Value(name="kernels", value=len({row.kernel_options for row in rows}), unit="")]
    for row in rows:
        values += [
            Value(name=f"{row.service} image", value=row.bytes / 1e6, unit="MB"),
            Value(name="calls", value=row.calls, unit=""),
            Value(name="denials", value=row.host.denials + row.guest.denials, unit=""),
        ]
    return (judge(GALLERY_FAILS, failed, values),)


def rehearse_gallery(folder: Path, progress: Progress) -> Iterator[Row]:
    """Of each service, by name. Images that lie in `folder`, and what was measured of them there,
    are taken as they are, and left there: a long run can be continued.
    """
    for workload in sorted(data_path("services").glob("*/workload.toml")):
        image = _image(workload, folder, progress)
        kept = folder / f"{image.plan.name}.row.json"
        row = load_json(kept, Row, "row") if kept.exists() else None
        if row is None or (row.root, row.kernel) != _hashes(image):
            row = rehearse_both(image, progress)
            write_atomically(kept, to_json(row).encode())
        yield row


def _image(workload: Path, folder: Path, progress: Progress) -> Image:
    name = workload.parent.name
    place, kept = folder / f"{name}.onejob", folder / f"{name}.profile.xml"
    if place.exists():
        return open_image(place)
    profile = load_profile(kept) if kept.exists() else _profile(workload, kept, progress)
    plan, cache = plan_for(profile, HARDWARE, USUAL), cache_path()
    xml = write_profile(profile)
    return build_image(plan, xml, place, with_kernel=True, cache=cache, progress=progress)


def _profile(workload: Path, kept: Path, progress: Progress) -> Profile:
    profile = take_profile(load_workload(workload), workload_text(workload), progress)
    write_atomically(kept, write_profile(profile).encode())
    return profile


def _hashes(image: Image) -> tuple[str, str]:
    found = {content.name: content.sha256 for content in image.manifest.contents}
    return found[image.root.name], found[image.kernel.name]


def rehearse_both(image: Image, progress: Progress) -> Row:
    """On this host and in QEMU, with what it was planned with."""
    facts, (root, kernel) = image_facts(image), _hashes(image)
    host, guest = (_rehearse(image, where, progress) for where in ("host", "qemu"))
    return Row(
        service=image.plan.name,
        root=root,
        kernel=kernel,
        kernel_options=image.manifest.kernel.config_sha256 if image.manifest.kernel else "",
        calls=facts.calls,
        files=facts.files,
        bytes=facts.bytes,
        memory_mib=-(-image.plan.machine.memory_kib // 1024),
        host=_rehearsed(host),
        guest=_rehearsed(guest),
    )


def _rehearse(image: Image, where: Where, progress: Progress) -> RehearsalReport:
    return rehearse(image, where, progress)


def _rehearsed(report: RehearsalReport) -> Rehearsed:
    first = f"{report.findings[0].kind} {report.findings[0].object}" if report.findings else ""
    return Rehearsed(
        found=first.partition("\n")[0],
        requests=report.requests,
        denials=sum(denial.count for denial in report.denials),
    )
