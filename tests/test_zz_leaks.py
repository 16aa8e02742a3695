"""The last test of every session: nothing that the tests started or mounted is left."""

import time

import pytest

from machine_state import leaks_since, snapshot_key

# Network namespaces and killed processes go asynchronously.
PATIENCE_S = 10


def test_nothing_leaked(pytestconfig: pytest.Config) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (leaks := leaks_since(pytestconfig.stash[snapshot_key])) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not leaks, "left on the machine:\n" + "\n".join(leaks)
