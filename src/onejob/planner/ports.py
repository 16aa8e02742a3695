"""Which TCP ports the service may listen on and connect to: those of its profile.

The facts of bind(2) and connect(2) have family and port, and not the kind of socket, so ports of
UDP are among them: a port more is allowed, never one less.
"""

from collections.abc import Iterable, Iterator

from onejob.model.plan_policy import Network, PortUse, TcpPort
from onejob.planner.evidence import Evidence

_IP = (2, 10)  # AF_INET, AF_INET6 (include/linux/socket.h)
# The kernel chooses from here on (ip(7), ip_local_port_range): another run has other numbers.
_FIRST_EPHEMERAL = 32768
_CALLS: dict[PortUse, str] = {"listen": "bind", "connect": "connect"}


def plan_network(evidence: Evidence, known: Iterable[int]) -> tuple[Network, tuple[str, ...]]:
    """The ports, and warnings about uses that cannot be restricted to any.

    `known` are the workload's ports, on which the service listens in each run.
    """
    always = dict.fromkeys(known, "named by the workload")
    restricted: list[PortUse] = []
    ports: list[TcpPort] = []
    warnings: list[str] = []
    for use, call in _CALLS.items():
        found = {**_ports(evidence, call), **(always if use == "listen" else {})}
        if why := _why_any(evidence, call, found, always):
            warnings.append(f"any TCP port to {use} is allowed: {why}")
            continue
        restricted.append(use)
        ports += [TcpPort(use=use, port=n, reason=reason) for n, reason in sorted(found.items())]
    return Network(restricted=tuple(restricted), ports=tuple(ports)), tuple(warnings)


def _why_any(evidence: Evidence, call: str, found: dict[int, str], always: dict[int, str]) -> str:
    """Why the ports of `call` are not all that the service needs; empty where they are."""
    if evidence.succeeded(call) and not evidence.facts(call):
        return f"the profile has {call}, and not its ports"
    moving = [port for port in found if port >= _FIRST_EPHEMERAL and port not in always]
    return f"{found[moving[0]]}, port {moving[0]}, which may be another next time" if moving else ""


def _ports(evidence: Evidence, call: str) -> dict[int, str]:
    """Each port with its reason; also of calls that failed, as a connection on its way does."""
    return {port: f"{call} by {program}" for port, program in _asked(evidence, call)}


def _asked(evidence: Evidence, call: str) -> Iterator[tuple[int, str]]:
    for fact in evidence.facts(call):
        family, port, *_ = (*fact.values, 0, 0)
        if family in _IP:
            yield port, fact.program
