"""Which calls the service may make, and the settings of its kernel, each with its reason."""

from collections.abc import Mapping

from onejob.model.component import Component
from onejob.model.errors import InputError
from onejob.model.plan import Setting, Trust
from onejob.model.plan_policy import CallDecision
from onejob.model.syscalls import call_number
from onejob.planner.evidence import Evidence


def plan_calls(
    evidence: Evidence, chosen: Mapping[str, tuple[Component, str]], trust: Trust
) -> tuple[CallDecision, ...]:
    """The allowed calls by number: those that were made, and those that components stand for.

    With `trust` union also those that the service's code was found to reach.
    """
    reasons = {name: evidence.call_reason(name) for name in evidence.call_names()}
    for component, _ in chosen.values():
        for call in component.call:
            reasons.setdefault(call.name, f"{call.reason} [{component.name}]")
    for row in evidence.profile.reachable_calls if trust == "union" else ():
        reasons.setdefault(row.call_name, f"static: {row.object}: {row.reason}")
    decisions = [
        CallDecision(name=name, number=_number_of(name, reason), reason=reason)
        for name, reason in reasons.items()
    ]
    return tuple(sorted(decisions, key=lambda decision: decision.number))


def _number_of(name: str, reason: str) -> int:
    number = call_number(name)
    if number is None:
        raise InputError(f"{name!r} is no system call of x86_64 ({reason})")
    return number


def plan_settings(chosen: Mapping[str, tuple[Component, str]]) -> tuple[Setting, ...]:
    """The kernel settings of the chosen components, by name."""
    settings = {
        setting.name: Setting(
            name=setting.name, value=setting.value, reason=f"{setting.why} [{component.name}]"
        )
        for component, _ in chosen.values()
        for setting in component.sysctl
    }
    return tuple(settings[name] for name in sorted(settings))
