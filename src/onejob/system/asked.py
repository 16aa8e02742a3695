"""What a running instance answers to others on its machine: a line of JSON for a line of JSON.

`onejob run` listens at a Unix socket and passes on to process 1 what is in MAY_ASK, nothing else.
"""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onejob.model.errors import OnejobError, ServiceError
from onejob.model.jsonfile import parse_json
from onejob.model.observations import Observations
from onejob.system.control import LONGEST_LINE

MAY_ASK = {"observations": set[str]()}
LONGEST_QUESTION = 4096
TIMEOUT_S = 20.0

Ask = Callable[..., Any]


@contextmanager
def answering(path: Path, ask: Ask) -> Iterator[None]:
    """Answer at the Unix socket `path` by `ask(do, **fields)` as long as the context lasts."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = TIMEOUT_S

        def handle(self) -> None:
            line = self.rfile.readline(LONGEST_QUESTION + 1)
            self.wfile.write(json.dumps(answer(line, ask)).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True
        request_queue_size = 64  # of a Unix socket, connect fails where it is full

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Whoever asked has left: it is nobody's business."""

    with Server(str(path), Handler) as server:
        path.chmod(0o600)
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def answer(line: bytes, ask: Ask) -> dict[str, Any]:
    """``{"ok": ...}``, or ``{"error": ...}`` for what may not be asked or came to nothing."""
    try:
        question = json.loads(line) if len(line) <= LONGEST_QUESTION else None
    except (ValueError, RecursionError):
        question = None
    if not isinstance(question, dict) or not isinstance(question.get("do"), str):
        return {"error": 'not a question: a line of JSON, such as {"do": "observations"}'}
    do = question.pop("do")
    if do not in MAY_ASK or question.keys() - MAY_ASK[do]:
        return {
            "error": f"{do} with {', '.join(map(str, question)) or 'nothing'}: it is not allowed"
        }
    try:
        return {"ok": ask(do, **question)}
    except OnejobError as error:
        return {"error": error.what}


def ask(path: Path, do: str, **fields: object) -> Any:
    """Ask the instance that answers at `path`; ServiceError where it refuses or is gone."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
            with connection.makefile("rb") as reply:
                line = reply.readline(LONGEST_LINE)
        found = json.loads(line)
    except (OSError, ValueError) as error:
        raise ServiceError(f"{path.parent.name} does not answer: {error}") from error
    if "ok" not in found:
        raise ServiceError(f"{path.parent.name}: {found.get('error')}")
    return found["ok"]


def ask_observations(path: Path) -> Observations:
    """What the instance that answers at `path` has observed."""
    name = f"observations of {path.parent.name}"
    return parse_json(json.dumps(ask(path, "observations")), Observations, name)
