"""``onejob upgrade``: a newer system for an installed disk, to be tried beside the one it has."""

import json as json_module
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from onejob.base.linux import need_root
from onejob.base.natives import cache_path
from onejob.builder.image import build_image
from onejob.cli.plan import plan_for
from onejob.cli.rehearse import print_report
from onejob.cli.show import out, print_table, progress
from onejob.disk.device import Device, open_device
from onejob.disk.options import Options, check_options
from onejob.disk.papers import Papers
from onejob.disk.state import SLOTS
from onejob.installer.upgrade import (
    Installed,
    booting,
    go_back,
    may_follow,
    put_on_trial,
    read_installed,
    same_system,
)
from onejob.model.errors import InputError, RehearsalError
from onejob.model.hardware import Hardware
from onejob.model.image import PROFILE, Image, open_image
from onejob.model.profile import Profile
from onejob.model.profile_xml import load_profile, write_profile
from onejob.planner.choices import choices_of
from onejob.report.installed import installed_table, slot_facts, slot_words
from onejob.system.rehearse import rehearse

DiskArgument = Annotated[
    Path, typer.Argument(metavar="DISK", help="A disk or raw image that nothing uses now.")
]
FromArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[IMAGE|PROFILE]", help="Default: the profile on the disk."),
]


@dataclass(frozen=True)
class _Wish:
    """What is to become of the disk."""

    source: Path | None
    hardware: str | None
    output: Path | None
    rehearse: bool


def upgrade(
    disk: DiskArgument,
    source: FromArgument = None,
    status: Annotated[
        bool, typer.Option("--status", help="Only show what the disk has, and what boots.")
    ] = False,
    back: Annotated[
        bool, typer.Option("--back", help="End the trial; or try the other slot again.")
    ] = False,
    hardware: Annotated[
        str | None, typer.Option("--hardware", help="Default: that of the installed system.")
    ] = None,
    rehearse_first: Annotated[
        bool,
        typer.Option("--rehearse/--no-rehearse", help="Rehearse it on this host before."),
    ] = True,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep the image that is built.")
    ] = None,
    ip: Annotated[
        str | None, typer.Option("--ip", help="The kernel's ip=. Default: as it is now.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Sign what firmware starts (PEM).")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="That of the key (PEM).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="With --status: print JSON.")] = False,
) -> None:
    """Give an installed disk a newer system, to be tried at its next start.

    Builds the disk's service with this host's kernel, process 1 and
    libraries, and the profile that the disk has. A service that changed needs
    a profile of its own: profile it, and upgrade with that, or with its image.
    What boots now stays, and boots again should the new one fail three times.

    \b
    Examples:
      onejob upgrade disk.raw
      onejob upgrade /dev/sdb nginx.profile.xml
      onejob upgrade disk.raw --status
      onejob upgrade disk.raw --back
    """
    if status:
        with open_device(disk) as device:
            _show(disk, read_installed(device), json)
        return
    need_root("upgrading a disk")
    with open_device(disk, write=True) as device:
        installed = read_installed(device)
        if back:
            go_back(device)
        else:
            now = booting(device, installed)
            options = Options(now.facts.ip if ip is None else ip, key, certificate)
            check_options(options)
            _upgrade(device, now, _Wish(source, hardware, output, rehearse_first), options)
        _show(disk, read_installed(device), json=False)


def _upgrade(device: Device, now: Papers, wish: _Wish, options: Options) -> None:
    """Make or take the image, see that it fits, and only then write."""
    with _image(now, wish) as image:
        if same_system(now, image, options):
            out.print("the disk boots this system already; nothing was written")
            return
        may_follow(now, image, options)
        if wish.rehearse:
            _rehearse(image)
        with progress() as shown:
            slot = put_on_trial(device, image, options, shown)
        out.print(f"next: start it; it stays when {image.manifest.name} gets ready in slot {slot}")


@contextmanager
def _image(now: Papers, wish: _Wish) -> Iterator[Image]:
    """The image that was given, or one that is built from a profile."""
    if wish.source is not None and wish.source.is_dir():
        if wish.hardware or wish.output:
            hint = "give a profile, or leave them out"
            raise InputError("--hardware and --output are for an image that is built", hint)
        yield open_image(wish.source)
        return
    with TemporaryDirectory(prefix="onejob-upgrade-") as name:
        profile = _profile(now, wish.source, Path(name))
        hardware = _hardware(now, wish.hardware)
        plan = plan_for(profile, hardware, choices_of(now.plan), newer=True)
        target = wish.output or Path(name) / f"{plan.name}.onejob"
        text = write_profile(profile)
        with progress() as shown:
            built = build_image(
                plan, text, target, with_kernel=True, cache=cache_path(), progress=shown
            )
        yield built


def _profile(now: Papers, source: Path | None, folder: Path) -> Profile:
    if source is None:
        source = folder / PROFILE
        source.write_bytes(now.profile)
    found = load_profile(source)
    if found.name != now.manifest.name:
        raise InputError(
            f"the disk has {now.manifest.name}, and {source} is of {found.name}",
            "give a profile of the disk's service",
        )
    return found


def _hardware(now: Papers, wanted: str | None) -> str | Hardware:
    if wanted is not None:
        return wanted
    if now.plan.hardware is None:
        hint = f"say which: --hardware (it was planned for {now.plan.machine.hardware})"
        raise InputError("the disk's plan does not hold the hardware that it was made for", hint)
    return now.plan.hardware


def _rehearse(image: Image) -> None:
    with progress() as shown:
        report = rehearse(image, "host", shown)
    if not report.passed:
        print_report(report)
        raise RehearsalError(
            f"{image.manifest.name} did not pass its rehearsal with this host's system, see above;"
            " nothing was written",
            "profile it again with that system; or keep the old one",
        )


def _show(disk: Path, installed: Installed, json: bool) -> None:
    rows = [_row(installed, slot) for slot in SLOTS]
    if json:
        print(json_module.dumps({"disk": str(disk), "slots": rows}, indent=2))
        return
    print_table(*installed_table(str(disk), rows))


def _row(installed: Installed, slot: Any) -> dict[str, Any]:
    found = installed.slots[slot]
    about = {"slot": slot, "words": slot_words(slot, *installed.state)}
    if found.papers is None:
        return {**about, "lack": found.lack}
    return {**about, **slot_facts(found.papers.manifest, found.papers.plan)}
