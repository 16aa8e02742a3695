"""``make demo``: nginx becomes its own operating system; ends with a table of measurements.

Order: profile, plan, root, rehearsal on this host (the first visible success), kernel, rehearsal in
QEMU. Kernels and packages are cached by content, so a second run takes a minute.
"""

import shutil
import sys
import time
from pathlib import Path

from onejob.base.natives import cache_path, data_path
from onejob.base.progress import Progress
from onejob.builder.image import build_image, image_facts
from onejob.cli.main import run_as_program
from onejob.cli.plan import plan_for
from onejob.cli.rehearse import print_report
from onejob.cli.show import err, megabytes, out, print_table, progress
from onejob.model.errors import RehearsalError
from onejob.model.image import Image
from onejob.model.profile import Profile
from onejob.model.profile_xml import write_profile
from onejob.model.workload import load_workload, workload_text
from onejob.planner.choices import USUAL
from onejob.profiler.profile import take_profile
from onejob.system.rehearse import RehearsalReport, rehearse

GUEST_MEMORY_MIB = 32


def demo(folder: Path) -> None:
    """Run the whole way for nginx; image and profile are left in `folder`."""
    begun = time.monotonic()
    with progress() as shown:
        profile = _profile(folder, shown)
        host = _rehearse_on_host(profile, folder, shown)
    print_report(host)
    err.print(f"first success after {time.monotonic() - begun:.0f} s; now its own kernel")
    with progress() as shown:
        image = _build(profile, folder / "nginx.onejob", True, shown)
        guest = rehearse(image, "qemu", shown, memory_mib=GUEST_MEMORY_MIB)
    print_report(guest)
    _need_passed(guest)
    print_measured(profile, image, host, guest)
    out.print(f"the whole took {time.monotonic() - begun:.0f} s; next, by hand:")
    out.print("  .venv/bin/onejob run nginx.onejob --on qemu --publish 8080:80")


def _profile(folder: Path, shown: Progress) -> Profile:
    path = data_path("services") / "nginx" / "workload.toml"
    profile = take_profile(load_workload(path), workload_text(path), shown)
    (folder / "nginx.profile.xml").write_text(write_profile(profile))
    return profile


def _rehearse_on_host(profile: Profile, folder: Path, shown: Progress) -> RehearsalReport:
    """With an image that has no kernel yet: the host's own serves."""
    place = folder / ".nginx-host.onejob"
    try:
        image = _build(profile, place, False, shown)
        report = rehearse(image, "host", shown)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    _need_passed(report)
    return report


def _build(profile: Profile, place: Path, with_kernel: bool, shown: Progress) -> Image:
    plan = plan_for(profile, "qemu-microvm", USUAL)
    xml = write_profile(profile)
    return build_image(
        plan, xml, place, with_kernel=with_kernel, cache=cache_path(), progress=shown
    )


def _need_passed(report: RehearsalReport) -> None:
    if not report.passed:
        print_report(report)
        first = report.findings[0]
        raise RehearsalError(f"the rehearsal on {report.where} did not pass", first.remedy)


def print_measured(
    profile: Profile, image: Image, host: RehearsalReport, guest: RehearsalReport
) -> None:
    """The table at the end: every figure of this very run."""
    facts = image_facts(image)
    installed = sum(package.paths for package in profile.packages)
    requests = f"{host.requests} on the host, {guest.requests} in QEMU"
    answers = f"{(host.ready_seconds or 0) * 1000:.0f} ms on the host, "
    answers += f"{guest.ready_seconds or 0:.2f} s in QEMU"
    rows = [
        ("files kept", f"{facts.files} of {installed} installed"),
        ("system calls allowed", f"{facts.calls} of {facts.kernel_calls} that the kernel has"),
        ("kernel", megabytes(facts.kernel_bytes or 0)),
        ("root", megabytes(facts.root_bytes)),
        ("kernel + root", megabytes(facts.bytes)),
        ("guest memory", f"{guest.memory_mib} MiB"),
        ("start to first HTTP 200", answers),
        ("requests served in the rehearsals", requests),
        ("denials", str(len(host.denials) + len(guest.denials))),
    ]
    print_table("nginx as its own operating system", ("what", "measured"), rows)


if __name__ == "__main__":
    sys.exit(run_as_program(lambda: demo(Path.cwd())))
