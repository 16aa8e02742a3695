"""``onejob explain``: why is this file, call or kernel option in the image?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onejob.base.natives import cache_path, data_path
from onejob.cli.show import err, out, print_table
from onejob.model.argument_words import allowed_in_words
from onejob.model.call_purposes import purpose_of
from onejob.model.component import load_components
from onejob.model.errors import InputError, LacksError
from onejob.model.image import Image, open_image
from onejob.model.jsonfile import load_json
from onejob.model.paths import resolve
from onejob.model.plan import Plan, PlannedFile
from onejob.model.profile import FileUse, Profile
from onejob.model.profile_xml import load_profile
from onejob.model.syscalls import call_number
from onejob.report.kernel_option import components_table, drivers_table
from onejob.report.overview import notes, overview

if TYPE_CHECKING:
    from onejob.builder.kconfig_facts import OptionFacts


def explain(
    subject: Annotated[
        Path, typer.Argument(metavar="IMAGE|PLAN|PROFILE|OPTION", help="What to ask.")
    ],
    thing: Annotated[
        str, typer.Argument(metavar="[THING]", help="A path, a system call or a kernel option.")
    ] = "",
) -> None:
    """Say why something is in an image, or what a profile knows of it.

    Without THING: what the service calls the kernel for, at a glance.
    OPTION alone (CONFIG_...): what the component library knows of it.

    \b
    Examples:
      onejob explain nginx.profile.xml
      onejob explain nginx.profile.xml epoll_wait
      onejob explain nginx.onejob /usr/lib/x86_64-linux-gnu/libpcre2-8.so.0
      onejob explain nginx.onejob CONFIG_IPV6
      onejob explain CONFIG_E1000E
    """
    if not thing and subject.name.startswith("CONFIG_") and not subject.exists():
        return explain_library(subject.name.removeprefix("CONFIG_"))
    if subject.suffix == ".json" and subject.is_file():
        return _explain_planned(load_json(subject, Plan, "plan"), thing.removeprefix("CONFIG_"))
    image = open_image(subject) if subject.is_dir() else None
    profile = load_profile(image.profile if image else subject)
    plan = image.plan if image else None
    option = thing.removeprefix("CONFIG_")
    if not thing:
        _explain_all(profile)
    elif thing.startswith("/"):
        _explain_path(plan, profile, thing)
    elif call_number(thing) is not None:
        _explain_call(plan, profile, thing)
    elif image and (thing.isupper() or option != thing):
        _explain_option(image, option)
    else:
        raise InputError(
            f"{thing!r} is no path, system call or kernel option",
            "paths begin with /; options are written in capitals, and only images have them",
        )


def _explain_all(profile: Profile) -> None:
    for table in overview(profile):
        print_table(*table)
    for note in notes(profile):
        out.print(f"note: {note}", markup=False, soft_wrap=True)


def _explain_path(plan: Plan | None, profile: Profile, path: str) -> None:
    if plan is None:
        _print_seen(profile, path)
        return
    planned = {file.path: file for file in plan.files}
    targets = {file.path: file.target for file in plan.files if file.kind == "symlink"}
    for step in resolve(path, targets):
        if step in planned:
            _print_file(planned[step])
        else:
            out.print(f"{step} is not in the image: {_why_absent(plan, profile.file(step), step)}",
                      markup=False, soft_wrap=True)  # fmt: skip


def _print_seen(profile: Profile, path: str) -> None:
    """What the profile alone knows of a path, links followed."""
    targets = {file.path: file.target for file in profile.files if file.kind == "symlink"}
    for step in resolve(path, targets):
        seen = profile.file(step)
        if seen is None:
            out.print(f"{step}: nobody asked for it", markup=False, soft_wrap=True)
            continue
        what = f"{seen.kind} -> {seen.target}" if seen.target else seen.kind
        out.print(f"{step}: {what} ({seen.origin})", markup=False, soft_wrap=True)
        rows: list[tuple[str, str, str, str]] = []
        rows += [(use.how, use.program, use.drill, str(use.count)) for use in seen.uses]
        rows += [
            (f"{row.call_name}, {row.bytes} bytes", row.program, row.drill, str(row.count))
            for row in profile.traffic
            if row.object == step
        ]
        rows += [("named", by, "", "") for by in seen.named_by]
        if rows:
            print_table("", ("use", "by", "drill", "times"), rows)


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


def _ports(plan: Plan, call: str) -> tuple[str, ...]:
    """The TCP ports that `call` may name."""
    use = {"bind": "listen", "connect": "connect"}.get(call, "")
    if plan.network is None or use not in plan.network.restricted:
        return ()
    ports = [f"TCP port {p.port}: {p.reason}" for p in plan.network.ports if p.use == use]
    return (*ports, f"no other TCP port to {use}" if ports else f"no TCP port to {use}")


def _explain_call(plan: Plan | None, profile: Profile, name: str) -> None:
    said = f"{name} ({call_number(name)}, to {purpose_of(name)})"
    if plan is not None:
        decision = next((call for call in plan.calls if call.name == name), None)
        answered = next((call for call in plan.answered_calls if call.name == name), None)
        verdict = f"allowed: {decision.reason}" if decision else _why_refused(profile, name)
        if answered:
            verdict = f"answered with {answered.errno}: {answered.reason}"
        said = f"{name} ({call_number(name)}) is {verdict}"
    out.print(said, markup=False, soft_wrap=True)
    if plan is not None:
        _print_check(plan, name)
    for line in _ports(plan, name) if plan is not None else ():
        out.print(f"  - {line}", markup=False, soft_wrap=True)
    order = [run.name for run in profile.drills]
    uses = [use for use in profile.calls if use.call_name == name]
    uses.sort(key=lambda use: order.index(use.drill) if use.drill in order else len(order))
    rows = [(u.program, u.phase, u.drill, str(u.count), str(u.failed)) for u in uses]
    if rows:
        print_table("", ("program", "phase", "drill", "times", "of these failed"), rows)
    through = [r for r in profile.relationships if r.call_name == name]
    if through:
        ways = [
            (r.program, r.library, ", ".join(r.components), r.drill, str(r.count)) for r in through
        ]
        print_table("", ("program", "through", "concerns", "drill", "times"), ways)
    arguments = sorted({a.values for a in profile.arguments if a.call_name == name})
    if arguments:
        shown = ", ".join(str(values) for values in arguments[:12])
        out.print(f"with arguments {shown}", markup=False, soft_wrap=True)


def _print_check(plan: Plan, name: str) -> None:
    """With which arguments the call is allowed, where they are checked."""
    check = next((check for check in plan.argument_checks if check.call == name), None)
    if check is None:
        return
    if check.values is None:
        line = f"its arguments are {check.reason}"
    else:
        line = f"its arguments are checked: {allowed_in_words(name, check.values)}; {check.reason}"
    out.print(line, markup=False, soft_wrap=True)


def _why_refused(profile: Profile, name: str) -> str:
    """Whether code for a call that was never made exists."""
    reached = [row for row in profile.reachable_calls if row.call_name == name]
    if not reached:
        return "refused: nobody made it"
    more = f", and {len(reached) - 1} more" if len(reached) > 1 else ""
    row = next((row for row in reached if row.object == profile.program), reached[0])
    return f"refused: nobody made it; reachable in {row.object}: {row.reason}{more}"


def _explain_option(image: Image, name: str) -> None:
    config = image.folder / "kernel.config"
    planned = name in {option.name for option in image.plan.kernel_options}
    if not planned and image.manifest.kernel and f"CONFIG_{name}=" in config.read_text():
        line = f"CONFIG_{name} is set in the kernel because an option of the plan selects it"
        return out.print(line, markup=False, soft_wrap=True)
    return _explain_planned(image.plan, name)


def _explain_planned(plan: Plan, name: str) -> None:
    """Why the plan has the option on or off; where nobody asked, who could have."""
    option = next((option for option in plan.kernel_options if option.name == name), None)
    if option is not None:
        line = f"CONFIG_{name}={option.value}: {option.reason}"
        return out.print(line, markup=False, soft_wrap=True)
    line = f"CONFIG_{name} is not in the kernel: no component that was asked for names it"
    out.print(line, markup=False, soft_wrap=True)
    table = components_table(name, load_components(data_path("components")))
    return print_table(*table) if table.rows else None


def explain_library(name: str) -> None:
    """What components, Kconfig and the catalogue of drivers know of a kernel option."""
    table = components_table(name, load_components(data_path("components")))
    facts = _facts(name)
    if not table.rows and facts is not None and not facts.place:
        raise InputError(f"Linux {facts.release} has no option {name}, nor has any component")
    if facts is not None:
        _print_facts(name, facts)
    if table.rows:
        print_table(*table)
    else:
        out.print("no component sets it", soft_wrap=True)
    _print_drivers(name)


def _facts(name: str) -> "OptionFacts | None":
    from onejob.builder.kconfig_facts import option_facts  # reads the kernel's Kconfig: seconds

    try:
        return option_facts(name, cache_path())
    except LacksError as error:
        err.print(f"onejob: note: {error.what}", markup=False, soft_wrap=True)
        return None


def _print_facts(name: str, facts: "OptionFacts") -> None:
    said = facts.prompt or "no switch of its own: it is on by its default, or selected"
    lines = [f"CONFIG_{name}: {said} (Linux {facts.release}, {facts.place})"]
    if facts.depends_on:
        lines.append(f"  depends on {facts.depends_on}")
    if facts.selected_by:
        lines.append(f"  selected by {', '.join(facts.selected_by[:12])}")
    if facts.needs is None:
        lines.append("  nothing turns it on in a kernel without modules")
    elif facts.needs:
        needs = ", ".join(f"{need.name} (for {need.by})" for need in facts.needs)
        lines.append(f"  from nothing upwards it needs {needs}")
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def _print_drivers(name: str) -> None:
    from onejob.builder.catalogue import cached_catalogue

    try:
        catalogue = cached_catalogue(cache_path())
    except LacksError:
        return  # that there is no source was said
    if catalogue is None:
        line = "which devices ask for it is known once a plan for a real machine made the catalogue"
        return err.print(f"onejob: note: {line}", markup=False, soft_wrap=True)
    table = drivers_table(name, catalogue)
    return print_table(*table) if table.rows else None
