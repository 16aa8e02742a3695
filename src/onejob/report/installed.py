"""An installed disk as a table: which slot boots, which is tried, and what each holds."""

from typing import Any

from onejob.model.image import Manifest
from onejob.model.plan import Plan
from onejob.report.overview import Table


def slot_words(slot: str, first: str, trying: str, tries: int) -> str:
    """What the boot state says of a slot."""
    if slot == trying:
        return f"on trial, {tries} starts left" if tries else "failed its trial"
    if slot != first:
        return "spare"
    return "boots if the trial fails" if trying and tries else "boots"


def slot_facts(manifest: Manifest, plan: Plan) -> dict[str, Any]:
    """Names and versions of one slot's system."""
    program = plan.service.command[0]
    package = next((file.package for file in plan.files if file.path == program), "")
    return {
        "name": manifest.name,
        "program": program,
        "package": package,
        "kernel": manifest.kernel.source if manifest.kernel else "",
        "onejob": manifest.onejob,
        "hardware": plan.machine.hardware,
        "root_hash": manifest.verity.root_hash,
        "renewed": [file.path for file in plan.renewed],
    }


def installed_table(title: str, slots: list[dict[str, Any]]) -> Table:
    """A column for each of `slots`: its facts with `slot` and `words`, or with `lack` alone."""
    texts = [_texts(slot) for slot in slots]
    rows = tuple((what, *(text.get(what, "") for text in texts)) for what in texts[0])
    return Table(title, ("", *(f"slot {slot['slot']}" for slot in slots)), rows)


def _texts(slot: dict[str, Any]) -> dict[str, str]:
    words = {"at the next start": slot["words"]}
    if "lack" in slot:
        words["at the next start"] += f": {slot['lack']}"
        return words | dict.fromkeys(("service", "kernel", "built by", "for", "newer"), "-")
    service = slot["package"].replace("=", " ") or slot["program"]
    renewed = len(slot["renewed"])
    return words | {
        "service": service if service.startswith(slot["name"]) else f"{slot['name']}: {service}",
        "kernel": slot["kernel"].rpartition("=")[2],
        "built by": f"onejob {slot['onejob']}",
        "for": slot["hardware"],
        "newer": f"{renewed} files than its profile" if renewed else "nothing",
    }
