"""What an instance prints: read as it comes, handed on, its last part kept."""

import os
import threading
from collections.abc import Callable

KEPT_BYTES = 1024 * 1024


class Console:
    """The reading end of an instance's output. `on_text` is called from the reader's thread."""

    def __init__(self, on_text: Callable[[str], None] | None = None) -> None:
        self._reading, self.writing = os.pipe2(os.O_CLOEXEC)
        self._on_text = on_text
        self._lock = threading.Lock()
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The last KEPT_BYTES of the output."""
        with self._lock:
            return self._kept.decode(errors="replace").replace("\r", "")

    def last_lines(self, count: int = 20) -> str:
        """The last lines, indented."""
        lines = self.text().rstrip().splitlines()[-count:]
        return "\n".join(f"  {line}" for line in lines)

    def stop_writing(self) -> None:
        """The instance has its own copy of the writing end; without ours the end can be seen."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def drain(self, timeout: float) -> None:
        """Wait until all is read, for at most `timeout` seconds after the instance has ended."""
        self._thread.join(timeout)

    def close(self) -> None:
        """To be called when the instance is gone."""
        self.stop_writing()
        self.drain(1.0)

    def _read(self) -> None:
        try:
            while chunk := os.read(self._reading, 65536):
                self._take(chunk)
        finally:
            os.close(self._reading)

    def _take(self, chunk: bytes) -> None:
        with self._lock:
            self._kept += chunk
            if len(self._kept) > 2 * KEPT_BYTES:
                del self._kept[:-KEPT_BYTES]
        if self._on_text is not None:
            self._on_text(chunk.decode(errors="replace"))
