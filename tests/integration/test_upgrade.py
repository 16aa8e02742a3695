"""``onejob upgrade`` of raw disks: what it says, refuses, and leaves when it is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from installed_disks import boots_next, copied, make_disk, make_system, root_hash
from onejob.disk.device import MIB, new_raw, open_device
from onejob.disk.layout import find_layout
from onejob.model.errors import InputError
from onejob.model.image import Image
from running import ROOT, Onejob

pytestmark = pytest.mark.root


class World(NamedTuple):
    old: Image
    new: Image
    disk: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two systems, and a disk with the old one; not to be changed."""
    folder = tmp_path_factory.mktemp("upgrade")
    old, new = (make_system(folder, name) for name in ("old", "new"))
    return World(old, new, make_disk(folder / "disk.raw", old))


@pytest.fixture
def disk(world: World, tmp_path: Path) -> Path:
    return copied(world.disk, tmp_path / "disk.raw")


def words_of(onejob: Onejob, disk: Path) -> dict[str, str]:
    """What the verb says of each slot."""
    done = onejob("upgrade", disk, "--status", "--json")
    assert done.returncode == 0, done.stderr
    return {row["slot"]: row["words"] for row in json.loads(done.stdout)["slots"]}


def test_an_image_is_tried_beside_what_boots_and_taken_back(
    world: World, disk: Path, onejob: Onejob
) -> None:
    assert words_of(onejob, disk) == {"a": "boots", "b": "spare"}
    done = onejob("upgrade", disk, world.new.folder, "--no-rehearse")
    assert done.returncode == 0, done.stderr
    assert "on trial" in done.stdout
    tried = {"a": "boots if the trial fails", "b": "on trial, 3 starts left"}
    assert words_of(onejob, disk) == tried
    assert "keeper 2" in done.stdout, "the service's package"
    assert onejob("upgrade", disk, "--back").returncode == 0
    assert words_of(onejob, disk) == {"a": "boots", "b": "spare"}
    assert onejob("upgrade", disk, "--back").returncode == 0
    assert words_of(onejob, disk) == tried


def test_what_boots_already_is_not_written_again(world: World, disk: Path, onejob: Onejob) -> None:
    done = onejob("upgrade", disk, world.old.folder, "--no-rehearse")
    assert done.returncode == 0, done.stderr
    assert "boots this system already" in done.stdout
    assert words_of(onejob, disk) == {"a": "boots", "b": "spare"}


def test_what_cannot_be_upgraded_is_refused(
    world: World, disk: Path, onejob: Onejob, tmp_path: Path
) -> None:
    before = disk.read_bytes()
    new_raw(tmp_path / "empty.raw", 8 * MIB)
    with open_device(disk, write=True) as device:
        state_at = find_layout(device)["state"].start + 512
        busy = onejob("upgrade", disk, world.new.folder)
    damaged = copied(disk, tmp_path / "damaged.raw")
    with damaged.open("r+b") as file:
        file.seek(state_at)
        file.write(b"trying=c\n")
    for done, said in (
        (busy, "it is in use"),
        (onejob("upgrade", tmp_path / "empty.raw"), "no GUID partition table"),
        (onejob("upgrade", tmp_path / "none.raw"), "No such file"),
        (onejob("upgrade", damaged, world.new.folder), "its boot state is damaged"),
        (onejob("upgrade", disk, ROOT / "tests/golden/paper.profile.xml"), "the disk has keeper"),
        (onejob("upgrade", disk, world.new.folder, "--hardware", "this"), "an image that is built"),
        (onejob("upgrade", disk, "--back"), "nothing is in slot b"),
    ):
        assert done.returncode == 4, done.stderr
        assert said in done.stderr
    assert disk.read_bytes() == before


def killed(disk: Path, image: Path, wait_for: str, delay_s: float) -> bool:
    """Kill the verb `delay_s` after it said `wait_for`; whether it had not ended before."""
    with subprocess.Popen(
        [sys.executable, "-m", "onejob.cli.main", "upgrade", disk, image, "--no-rehearse"],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, env={**os.environ, "TMPDIR": str(disk.parent)},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        if wait_for:
            assert any(wait_for in line for line in process.stderr)
        time.sleep(delay_s)
        process.kill()
        return process.wait(timeout=60) == -signal.SIGKILL


def kill_at_random_moments(world: World, disk: Path, rounds: int, seed: int) -> int:
    """Old or new boots after each kill, and the data stay; how many kills were in time."""
    chance, hit = random.Random(seed), 0
    with open_device(disk) as device:
        place = find_layout(device)["data"]
        data = device.read_at(place.start, place.size)
    for number in range(rounds):
        # The longer it takes to write, the more of the kills hit it: most begin with the writing.
        said, most = ("writing slot", 1.5) if number % 4 else ("", 3.0)
        hit += killed(disk, world.new.folder, said, chance.uniform(0, most))
        with open_device(disk) as device:
            assert boots_next(device) in {root_hash(world.old), root_hash(world.new)}
            assert device.read_at(place.start, place.size) == data
    return hit


def await_free(disk: Path) -> None:
    """What was just being started when the verb was killed has the disk until its execve."""
    for _ in range(300):
        try:
            with open_device(disk, write=True):
                return
        except InputError:
            time.sleep(0.1)
    pytest.fail(f"{disk} stays in use")


def finish(world: World, disk: Path, onejob: Onejob) -> None:
    await_free(disk)
    done = onejob("upgrade", disk, world.new.folder, "--no-rehearse")
    assert done.returncode == 0, done.stderr
    with open_device(disk) as device:
        assert boots_next(device) == root_hash(world.new)


def test_a_killed_upgrade_leaves_a_system_that_boots(
    world: World, disk: Path, onejob: Onejob
) -> None:
    kill_at_random_moments(world, disk, rounds=3, seed=5)
    finish(world, disk, onejob)


@pytest.mark.slow
def test_an_upgrade_that_is_killed_100_times(world: World, disk: Path, onejob: Onejob) -> None:
    hit = kill_at_random_moments(world, disk, rounds=100, seed=23)
    assert hit >= 50, "the kills came too late"
    finish(world, disk, onejob)
