"""The power fails while a disk is upgraded: the old or the new system boots, and is whole."""

import random
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installed_disks import OPTIONS, boots_next, copied, make_disk, make_system, root_hash
from onejob.base.progress import Quiet
from onejob.disk.device import Device, open_device
from onejob.disk.layout import find_layout
from onejob.disk.state import State, read_state, write_state
from onejob.installer.upgrade import put_on_trial
from onejob.model.image import Image
from power import Event, RecordedDevice, apply, writes_after_cut

# A disk before its upgrade: slot b is spare, on trial, or has failed.
STATES = (State("a"), State("a", "b", 2), State("a", "b", 0))


class Upgrade(NamedTuple):
    """One whole upgrade: the disk `before` it, all that was written, who may boot afterwards."""

    state: State
    before: Path
    events: list[Event]
    boots: set[str]


class World(NamedTuple):
    """The same upgrade of disks in several states, to `new`."""

    new: Image
    upgrades: list[Upgrade]
    cut: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("power")
    old, beside, new = (make_system(folder, name) for name in ("old", "beside", "new"))
    disk = make_disk(folder / "disk.raw", old, beside)
    upgrades = []
    for number, state in enumerate(STATES):
        before = copied(disk, folder / f"before{number}.raw")
        with open_device(before, write=True) as device:
            write_state(device, state)
            boots = {boots_next(device), root_hash(old), root_hash(new)}
        after = copied(before, folder / "after.raw")
        with after.open("r+b") as file:
            recorded = RecordedDevice(after, file.fileno())
            put_on_trial(recorded, new, OPTIONS, Quiet())
            assert boots_next(recorded) == root_hash(new)
        upgrades.append(Upgrade(state, before, recorded.events, boots))
    return World(new, upgrades, folder / "cut.raw")


def data_of(device: Device) -> bytes:
    place = find_layout(device)["data"]
    return device.read_at(place.start, place.size)


def cut_and_finish(world: World, upgrade: Upgrade, share: float, seed: int) -> str:
    """What boots after a cut at that part of the upgrade; then a second run, which must finish."""
    copied(upgrade.before, world.cut)
    moment = round(share * len(upgrade.events))
    apply(world.cut, writes_after_cut(upgrade.events, moment, random.Random(seed)))
    with open_device(world.cut, write=True) as device, open_device(upgrade.before) as before:
        booted = boots_next(device)
        assert booted in upgrade.boots
        assert read_state(device).first == "a", "nothing but a trial is begun"
        assert put_on_trial(device, world.new, OPTIONS, Quiet()) == "b"
        assert read_state(device) == State("a", "b", 3)
        assert boots_next(device) == root_hash(world.new)
        assert data_of(device) == data_of(before)
    return booted


def moments(examples: int) -> settings:
    """As many cuts; the disks stay the same from one to the next."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks)


CUT = {
    "number": st.integers(0, len(STATES) - 1), "share": st.floats(0, 1), "seed": st.integers(0, 999)
}  # fmt: skip


@given(**CUT)
@moments(5)
def test_a_cut_at_some_moment(world: World, number: int, share: float, seed: int) -> None:
    cut_and_finish(world, world.upgrades[number], share, seed)


@pytest.mark.slow
@given(**CUT)
@moments(100)
def test_a_cut_at_100_moments(world: World, number: int, share: float, seed: int) -> None:
    cut_and_finish(world, world.upgrades[number], share, seed)


def test_before_the_first_write_and_after_the_last(world: World) -> None:
    upgrade = world.upgrades[0]
    begun = cut_and_finish(world, upgrade, 0, 1)
    ended = cut_and_finish(world, upgrade, 1, 1)
    assert (begun, ended) == (upgrade_of_old(world), root_hash(world.new))


def upgrade_of_old(world: World) -> str:
    with open_device(world.upgrades[0].before) as device:
        return boots_next(device)
