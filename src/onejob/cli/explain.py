"""``onejob explain``: why is this file, call or kernel option in the image?"""

from pathlib import Path
from typing import Annotated

import typer

from onejob.cli.show import out, print_table
from onejob.model.errors import InputError
from onejob.model.image import Image, open_image
from onejob.model.paths import resolve
from onejob.model.plan import Plan, PlannedFile
from onejob.model.profile import FileUse, Profile
from onejob.model.profile_xml import load_profile
from onejob.model.syscalls import call_number


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image folder.")],
    thing: Annotated[
        str, typer.Argument(metavar="THING", help="A path, a system call or a kernel option.")
    ],
) -> None:
    """Say why something is in an image, or why it is not.

    \b
    Examples:
      onejob explain nginx.onejob /usr/lib/x86_64-linux-gnu/libpcre2-8.so.0
      onejob explain nginx.onejob epoll_wait
      onejob explain nginx.onejob CONFIG_IPV6
    """
    opened = open_image(image)
    profile = load_profile(opened.profile)
    option = thing.removeprefix("CONFIG_")
    if thing.startswith("/"):
        _explain_path(opened.plan, profile, thing)
    elif call_number(thing) is not None:
        _explain_call(opened.plan, profile, thing)
    elif thing.isupper() or option != thing:
        _explain_option(opened, option)
    else:
        raise InputError(
            f"{thing!r} is no path, system call or kernel option",
            "paths begin with /, options are written in capitals",
        )


def _explain_path(plan: Plan, profile: Profile, path: str) -> None:
    planned = {file.path: file for file in plan.files}
    targets = {file.path: file.target for file in plan.files if file.kind == "symlink"}
    for step in resolve(path, targets):
        if step in planned:
            _print_file(planned[step])
        else:
            out.print(f"{step} is not in the image: {_why_absent(plan, profile.file(step), step)}",
                      markup=False, soft_wrap=True)  # fmt: skip


def _print_file(file: PlannedFile) -> None:
    what = f"{file.kind} -> {file.target}" if file.target else file.kind
    size = f", {file.size} bytes" if file.size else ""
    package = f", from {file.package}" if file.package else ""
    out.print(f"{file.path}: {what}{size}{package}", markup=False, soft_wrap=True)
    for reason in file.reasons:
        out.print(f"  - {reason}", markup=False, soft_wrap=True)


def _why_absent(plan: Plan, seen: FileUse | None, path: str) -> str:
    for mount in plan.mounts:
        if path == mount.path or path.startswith(mount.path + "/"):
            return f"it lies in {mount.path} ({mount.kind}), made at boot: {mount.reason}"
    for item in plan.left_out:
        if item.path == path:
            return item.reason
    if seen is None:
        return "nobody asked for it in the profile"
    if seen.kind == "missing":
        programs = ", ".join(sorted({use.program for use in seen.uses}))
        return f"it was asked for by {programs}, and was not there either"
    return f"it is a {seen.kind}, which a root does not carry"


def _explain_call(plan: Plan, profile: Profile, name: str) -> None:
    decision = next((call for call in plan.calls if call.name == name), None)
    verdict = f"allowed: {decision.reason}" if decision else "refused: nobody made it"
    out.print(f"{name} ({call_number(name)}) is {verdict}", markup=False, soft_wrap=True)
    order = [run.name for run in profile.drills]
    uses = [use for use in profile.calls if use.call_name == name]
    uses.sort(key=lambda use: order.index(use.drill) if use.drill in order else len(order))
    rows = [(u.program, u.phase, u.drill, str(u.count), str(u.failed)) for u in uses]
    if rows:
        print_table("", ("program", "phase", "drill", "times", "of these failed"), rows)
    arguments = sorted({a.values for a in profile.arguments if a.call_name == name})
    if arguments:
        shown = ", ".join(str(values) for values in arguments[:12])
        out.print(f"with arguments {shown}", markup=False, soft_wrap=True)


def _explain_option(image: Image, name: str) -> None:
    option = next((option for option in image.plan.kernel_options if option.name == name), None)
    if option is not None:
        line = f"CONFIG_{name}={option.value}: {option.reason}"
    elif (
        image.manifest.kernel and f"CONFIG_{name}=" in (image.folder / "kernel.config").read_text()
    ):
        line = f"CONFIG_{name} is set in the kernel because an option of the plan selects it"
    else:
        line = f"CONFIG_{name} is not in the kernel: no component that was asked for names it"
    out.print(line, markup=False, soft_wrap=True)
