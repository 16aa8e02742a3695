"""The text screen of ``onejob install``, on a terminal that knows nothing but text."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from onejob.disk.device import open_device
from onejob.disk.state import State, read_state

from .test_install import World, command, disk, environment, install, world

__all__ = ["disk", "install", "world"]  # fixtures
pytestmark = [pytest.mark.root]


def on_console(words: list[str], folder: Path, answers: dict[str, str]) -> tuple[int, str]:
    """Run it on a terminal and type each answer at the end of its question; status and screen."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        words, env={**environment(folder), "TERM": "dumb"}, stdin=secondary, stdout=secondary,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    os.close(secondary)
    shown, asked = "", 0
    with os.fdopen(primary, "rb+", buffering=0) as terminal:
        try:
            while piece := terminal.read(1024):
                shown += piece.decode("ascii")
                for question, answer in answers.items():
                    if re.search(rf"{question}[^\n]*: $", shown[asked:]):
                        terminal.write(f"{answer}\n".encode())
                        asked = len(shown)
        except OSError:  # EIO: its other end was closed
            pass
    return process.wait(60), shown


def words_for(world: World, folder: Path, *more: str | Path) -> list[str]:
    hardware = folder / "hardware.json"
    given = ("--hardware", hardware, "--from", world.kit, "--trust", world.root)
    return command(*given, *more)


@pytest.mark.usefixtures("install")
def test_what_is_open_is_asked_and_then_installed(world: World, disk: Path, tmp_path: Path) -> None:
    words = words_for(world, tmp_path, "--disk", disk)
    status, shown = on_console(words, tmp_path, {"Erase it": "yes"})
    assert status == 0, shown
    assert "a-pc (x86_64)" in shown
    assert "Service: small" in shown
    assert f"On {disk} now: nothing that is known." in shown
    assert "\x1b[" not in shown
    with open_device(disk) as device:
        assert read_state(device) == State("a")

    status, shown = on_console(words, tmp_path, {"Go on": ""})
    assert status == 0, shown
    assert "The new system goes beside it; data are kept." in shown
    with open_device(disk) as device:
        assert read_state(device) == State("a", "b", 3)


@pytest.mark.usefixtures("install")
def test_a_no_writes_nothing(world: World, disk: Path, tmp_path: Path) -> None:
    words = words_for(world, tmp_path, "--disk", disk)
    status, shown = on_console(words, tmp_path, {"Erase it": "no"})
    assert (status, "not confirmed, so nothing was written" in shown) == (4, True)
    assert not disk.read_bytes().strip(b"\0")
