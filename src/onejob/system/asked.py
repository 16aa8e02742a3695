"""What a running instance answers to others on its machine: a line of JSON for a line of JSON.

`onejob run` listens at a Unix socket, which only root reaches, and passes on to process 1 what is
in MAY_ASK, nothing else; at a port for the administrator only what is in MAY_ADMINISTER.
"""

import json
import socketserver
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from onejob.model.errors import OnejobError, ServiceError
from onejob.model.jsonfile import parse_json
from onejob.model.observations import Observations
from onejob.system.control import LONGEST_LINE
from onejob.system.serving import Place, connect, served

Questions = Mapping[str, frozenset[str]]
MAY_ADMINISTER: Questions = {"challenge": frozenset(), "shutdown": frozenset({"text"})}
MAY_ASK: Questions = {"observations": frozenset(), **MAY_ADMINISTER}
LONGEST_QUESTION = 4096
TIMEOUT_S = 20.0

Ask = Callable[..., Any]


@contextmanager
def answering(place: Place, ask: Ask, may: Questions = MAY_ASK) -> Iterator[None]:
    """Answer at `place` by `ask(do, **fields)`, what is in `may`, as long as the context lasts."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = TIMEOUT_S

        def handle(self) -> None:
            line = self.rfile.readline(LONGEST_QUESTION + 1)
            self.wfile.write(json.dumps(answer(line, ask, may)).encode() + b"\n")

    with served(place, Handler):
        yield


def answer(line: bytes, ask: Ask, may: Questions = MAY_ASK) -> dict[str, Any]:
    """``{"ok": ...}``, or ``{"error": ...}`` for what may not be asked or came to nothing."""
    try:
        question = json.loads(line) if len(line) <= LONGEST_QUESTION else None
    except (ValueError, RecursionError):
        question = None
    if not isinstance(question, dict) or not isinstance(question.get("do"), str):
        return {"error": 'not a question: a line of JSON, such as {"do": "observations"}'}
    do = question.pop("do")
    if do not in may or question.keys() - may[do] or not _are_texts(question):
        return {
            "error": f"{do} with {', '.join(map(str, question)) or 'nothing'}: it is not allowed"
        }
    try:
        return {"ok": ask(do, **question)}
    except OnejobError as error:
        return {"error": error.what}


def _are_texts(question: dict[str, Any]) -> bool:
    return all(isinstance(value, str) for value in question.values())


def ask(place: Place, do: str, **fields: object) -> Any:
    """Ask the instance that answers at `place`; ServiceError where it refuses or is gone."""
    try:
        with connect(place, TIMEOUT_S) as connection:
            connection.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
            with connection.makefile("rb") as reply:
                line = reply.readline(LONGEST_LINE)
        found = json.loads(line)
    except (OSError, ValueError) as error:
        raise ServiceError(f"{place} does not answer: {error}") from error
    if not isinstance(found, dict) or "ok" not in found:
        why = found.get("error") if isinstance(found, dict) else "its answer is none"
        raise ServiceError(f"{place}: {why}")
    return found["ok"]


def ask_observations(place: Place) -> Observations:
    """What the instance that answers at `place` has observed."""
    found = json.dumps(ask(place, "observations"))
    return parse_json(found, Observations, f"observations from {place}")
