"""An installation that is killed: what booted before still does, and a second run finishes."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from onejob.disk.device import open_device
from onejob.disk.state import State, other, read_state
from onejob.disk.write import verify_slot
from onejob.installer.content import find_system

from .test_install import Run, World, command, disk, done, environment, install, world

__all__ = ["disk", "install", "world"]  # fixtures
pytestmark = [pytest.mark.root]

QUICK_ROUNDS, MANY_ROUNDS = 2, 40


def killed(words: list[str], folder: Path, chance: random.Random) -> str:
    """Start an installation and kill it a moment after it has begun one of its last stages.

    What it had said by then.
    """
    stage = chance.choice(["kernel", "unpacking", "root", "writing", "reading it back"])
    delay_s = chance.random() * (1.5 if stage == "writing" else 0.3)
    said = ""
    with subprocess.Popen(
        words, env=environment(folder), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            said += line
            if f"] {stage}" in line:
                time.sleep(delay_s)
                break
        # Its tools are its children: a power cut ends them, too.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return said


def rounds(count: int, world: World, disk: Path, install: Run, folder: Path) -> None:
    """Kill an installation on an empty disk, then on one that has the system, again and again."""
    chance = random.Random(count)
    words = command(
        "small", "--from", world.kit, "--trust", world.root, "--disk", disk, "--erase",
        "--hardware", folder / "hardware.json",
    )  # fmt: skip
    installed = False
    for _ in range(count):
        said = killed(words, folder, chance)
        with open_device(disk) as device:
            system = find_system(device)
            assert system is not None or not installed, said
            if system is not None:
                verify_slot(device, system.state.first)
                if system.state.trying:
                    verify_slot(device, system.state.trying)
        if not installed:
            done(install("--disk", disk, "--erase"))
            installed = True
    done(install("--disk", disk, "--erase"))
    with open_device(disk) as device:
        first = read_state(device).first
        assert read_state(device) == State(first, other(first), 3)
        verify_slot(device, other(first))


def test_what_was_killed_is_finished_by_a_second_run(
    world: World, disk: Path, install: Run, tmp_path: Path
) -> None:
    rounds(QUICK_ROUNDS, world, disk, install, tmp_path)


@pytest.mark.slow
def test_the_same_many_times(world: World, disk: Path, install: Run, tmp_path: Path) -> None:
    rounds(MANY_ROUNDS, world, disk, install, tmp_path)
