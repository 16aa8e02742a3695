"""A web server that reads a file more with each of its first requests.

counting_server.py PORT FOLDER COUNT
"""

import http.server
import itertools
import signal
import sys
import tempfile
from pathlib import Path

PORT, FOLDER, COUNT = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
numbers = itertools.count(1)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers once all that belongs to the request is done."""

    def do_GET(self) -> None:
        """Make a file of a random name, read one of the numbered ones."""
        with tempfile.NamedTemporaryFile(dir=FOLDER):
            pass
        if (number := next(numbers)) <= COUNT:
            (FOLDER / f"file{number}").read_bytes()
        self.send_response(204)
        self.end_headers()


signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit())
server = http.server.HTTPServer(("", PORT), Handler)
print("ready", flush=True)
server.serve_forever()
