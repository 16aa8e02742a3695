"""Waiting for an exported system that boots by itself."""

import time
from pathlib import Path

import pytest

from .test_run_host import fetch

BOOT_LIMIT_S = 240


def patiently_fetch(port: int, console: Path) -> int:
    """The status of the first answer; where there is none, the test fails with the console."""
    deadline = time.monotonic() + BOOT_LIMIT_S
    while time.monotonic() < deadline:
        try:
            return fetch(port)
        except OSError:
            time.sleep(0.5)
    pytest.fail(console.read_text(errors="replace")[-3000:])
