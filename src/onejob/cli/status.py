"""``onejob status``: what runs on this machine, and how it goes."""

import json as json_module
from typing import Annotated

import typer

from onejob.cli.show import out, print_table
from onejob.model.errors import OnejobError, ServiceError
from onejob.model.image import PLAN
from onejob.model.jsonfile import load_json
from onejob.model.observations import Observations
from onejob.model.plan import Plan
from onejob.report.status import INSTANCES, instance_row, status_tables
from onejob.system.asked import ask_observations
from onejob.system.registry import Registered, find, running


def status(
    instance: Annotated[
        str, typer.Argument(metavar="[INSTANCE]", help="One of them, in detail.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show the instances that `onejob run` runs on this machine.

    With INSTANCE: its processes and their phase, its peaks beside their
    limits, and each call that was denied.

    \b
    Examples:
      onejob status
      onejob status nginx
      onejob status nginx --json > observations.json
    """
    if instance:
        _show_one(find(instance), json)
    else:
        _show_all(running(), json)


def _show_one(entry: Registered, json: bool) -> None:
    found = ask_observations(entry.place)
    if json:
        print(_text(found.model_dump(mode="json")))
        return
    plan = load_json(entry.folder / PLAN, Plan, "plan")
    print_table("", INSTANCES, [instance_row(entry.name, entry.where, entry.ports, found)])
    for table in status_tables(found, plan):
        print_table(*table)


def _show_all(entries: tuple[Registered, ...], json: bool) -> None:
    found = [(entry, _observed(entry)) for entry in entries]
    if json:
        print(_text([_listed(entry, observed) for entry, observed in found]))
        return
    if not found:
        out.print("no instance runs on this machine; start one with: onejob run IMAGE")
        return
    rows = [
        instance_row(entry.name, entry.where, entry.ports, observed)
        if isinstance(observed, Observations)
        else (entry.name, entry.where, "", observed.what, "", "", "")
        for entry, observed in found
    ]
    print_table("", INSTANCES, rows)


def _observed(entry: Registered) -> Observations | OnejobError:
    try:
        return ask_observations(entry.place)
    except ServiceError as error:
        return error


def _listed(entry: Registered, observed: Observations | OnejobError) -> dict[str, object]:
    about = entry.model_dump(mode="json")
    if isinstance(observed, OnejobError):
        return {**about, "error": observed.what}
    return {**about, "observations": observed.model_dump(mode="json")}


def _text(data: object) -> str:
    return json_module.dumps(data, indent=2, ensure_ascii=False)
