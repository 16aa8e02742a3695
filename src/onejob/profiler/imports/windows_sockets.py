"""What Procmon says of TCP and UDP: connections alive at once, listeners, bytes."""

import socket
from collections import Counter, defaultdict
from functools import lru_cache
from ipaddress import ip_address

from onejob.model.profile import Listener, Traffic
from onejob.profiler.imports.processes import MAX_FOLLOWED
from onejob.profiler.imports.procmon import Event, number_in
from onejob.profiler.imports.tally import DRILL, Tally
from onejob.profiler.imports.windows_rows import Rows

_VERBS = {"Send", "Receive", "Connect", "Accept", "Disconnect"}
_KINDS = {"TCP": "stream", "UDP": "dgram"}
_MAX_ADDRESS = 256
_Listening = tuple[str, str, str, int]  # program, family, address, port


class WindowsSockets:
    """Sockets that were seen in use; `peak` is the most at once."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._live: defaultdict[int, set[str]] = defaultdict(set)
        self._number = 0
        self._accepted = Rows[_Listening](tally)
        self._traffic = Rows[tuple[str, str, str]](tally)  # object, program, operation
        self._bytes: Counter[tuple[str, str, str]] = Counter()
        self.peak = 0

    def take(self, program: str, event: Event) -> bool:
        """Whether the operation is one of a socket."""
        protocol, _, verb = event.operation.partition(" ")
        local, arrow, remote = event.path.partition(" -> ")
        if protocol not in _KINDS or verb not in _VERBS:
            return False
        if not arrow or len(event.path) > 2 * _MAX_ADDRESS:
            self._tally.miss("addresses that are none of Procmon's", event.path)
            return True
        address, port = _address(local, protocol)
        family = family_of(address) or family_of(_address(remote, protocol)[0])
        if not family:
            self._tally.miss("sockets whose addresses are host names: of no known family", address)
        if verb == "Disconnect":
            self._close(event.process, f"TCP {event.path}")
        else:
            # A UDP socket has no other end.
            self._use(event.process, f"TCP {event.path}" if protocol == "TCP" else f"UDP {local}")
        if verb == "Accept":
            self._accept((program, family or "unspec", address, port), event.path)
        name = f"socket:{family or 'unspec'}/{_KINDS[protocol]}"
        row = name, program, event.operation
        if self._traffic.add(row, len(name)):
            self._bytes[row] += number_in(event.detail.get("Length", ""))
        return True

    def end(self, process: int) -> None:
        """The process is gone, and its sockets."""
        self._number -= len(self._live.pop(process, ()))

    def _accept(self, listening: _Listening, path: str) -> None:
        if listening[3] < 0:
            self._tally.miss("listeners whose port is a name that is not known here", path)
            listening = (*listening[:3], 0)
        self._accepted.add(listening, len(listening[2]))
        self._count()

    def _use(self, process: int, name: str) -> None:
        sockets = self._live[process]
        if name in sockets:
            return
        if self._number >= MAX_FOLLOWED:
            self._tally.miss("sockets too many to follow at once")
            return
        sockets.add(name)
        self._number += 1
        self._count()

    def _close(self, process: int, name: str) -> None:
        sockets = self._live[process]
        self._number -= name in sockets
        sockets.discard(name)

    def _count(self) -> None:
        self.peak = max(self.peak, self._number + len(self._accepted))

    def listeners(self) -> tuple[Listener, ...]:
        """Where connections were accepted."""
        return tuple(
            Listener(
                program=program, drill=DRILL, family=family, kind="stream", address=address,
                port=port, accepted=count,
            )
            for (program, family, address, port), count in sorted(self._accepted.items())
        )  # fmt: skip

    def traffic(self) -> tuple[Traffic, ...]:
        """Operations and bytes by kind of socket."""
        return tuple(
            Traffic(
                program=program, call_name=operation, drill=DRILL, object=name,
                component=name.partition("/")[0], count=count,
                bytes=self._bytes[name, program, operation],
            )
            for (name, program, operation), count in sorted(self._traffic.items())
        )  # fmt: skip


def family_of(address: str) -> str:
    """``inet`` or ``inet6``; empty for a name."""
    try:
        return {4: "inet", 6: "inet6"}[ip_address(address.strip("[]")).version]
    except ValueError:
        return ""


def _address(end: str, protocol: str) -> tuple[str, int]:
    """Address and port of one end, -1 where the port is a name that is not known."""
    address, _, port = end.rpartition(":")
    return address, int(port) if port.isdecimal() and len(port) < 6 else _port(port, protocol)


@lru_cache(maxsize=1024)
def _port(name: str, protocol: str) -> int:
    try:
        return socket.getservbyname(name, protocol.lower())
    except (OSError, ValueError):  # ValueError: not even a possible name
        return -1
