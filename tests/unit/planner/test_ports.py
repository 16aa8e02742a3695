"""TCP ports of a plan, by the facts of bind and connect."""

from typing import Any

import small_world
from onejob.model.plan_policy import Network
from onejob.model.profile import Argument, CallUse
from onejob.planner.evidence import Evidence
from onejob.planner.ports import plan_network


def fact(call: str, *values: int, failed: int = 0) -> Argument:
    return Argument(
        program="/x", call_name=call, drill="a", values=values, count=1, failed=failed
    )  # fmt: skip


def made(call: str) -> CallUse:
    return CallUse(program="/x", call_name=call, phase="boot", drill="a", count=1)


def planned(*facts: Argument, calls: Any = None) -> tuple[Network, tuple[str, ...]]:
    uses = [made(name) for name in calls or sorted({each.call_name for each in facts})]
    changes = {"arguments": facts, "calls": tuple(uses)}
    return plan_network(Evidence(small_world.profile().model_copy(update=changes)), (80,))


def ports(network: Network) -> list[tuple[str, int]]:
    return [(port.use, port.port) for port in network.ports]


def test_ports_are_those_of_the_profile_and_the_workload() -> None:
    facts = fact("bind", 2, 443), fact("bind", 10, 0), fact("connect", 2, 5432)
    network, warnings = planned(*facts)
    assert network.restricted == ("listen", "connect") and warnings == ()
    assert ports(network) == [("listen", 0), ("listen", 80), ("listen", 443), ("connect", 5432)]
    reasons = [port.reason for port in network.ports]
    assert reasons == ["bind by /x", "named by the workload", "bind by /x", "connect by /x"]


def test_whoever_never_connects_may_not() -> None:
    network, warnings = planned(fact("bind", 2, 80))
    assert (ports(network), network.restricted) == ([("listen", 80)], ("listen", "connect"))
    assert warnings == ()


def test_a_connection_on_its_way_has_failed_for_now_and_counts() -> None:
    assert ("connect", 53) in ports(planned(fact("connect", 10, 53, failed=1))[0])


def test_other_families_have_no_ports() -> None:
    network, _ = planned(fact("connect", 1, 7), fact("connect", 16, 9), fact("bind", 1))
    assert ports(network) == [("listen", 80)] and network.restricted == ("listen", "connect")


def test_a_port_that_the_kernel_chose_leaves_all_open() -> None:
    network, (warning,) = planned(fact("connect", 2, 40001), fact("bind", 2, 80))
    assert (ports(network), network.restricted) == ([("listen", 80)], ("listen",))
    assert warning == (
        "any TCP port to connect is allowed: connect by /x, port 40001, which may be another"
        " next time"
    )


def test_a_profile_without_ports_leaves_all_open() -> None:
    network, (warning,) = planned(fact("bind", 2, 80), calls=["bind", "connect"])
    assert network.restricted == ("listen",)
    assert warning.endswith("the profile has connect, and not its ports")
