"""Which image may follow the system of an installed disk, and what becomes of its slots."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from installed_disks import OPTIONS, copied, make_disk, make_system
from onejob.base.progress import Quiet
from onejob.disk.device import open_device
from onejob.disk.layout import find_layout
from onejob.disk.options import Options
from onejob.disk.papers import Papers, read_papers
from onejob.disk.state import State, read_state, write_state
from onejob.disk.write import verify_slot
from onejob.installer.upgrade import (
    booting,
    go_back,
    may_follow,
    put_on_trial,
    read_installed,
    same_system,
)
from onejob.model.errors import InputError
from onejob.model.image import Image
from onejob.model.plan import RenewedFile


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Image]:
    """An old one and a newer one of the same service."""
    folder = tmp_path_factory.mktemp("images")
    return make_system(folder, "old"), make_system(folder, "new")


@pytest.fixture(scope="module")
def installed(images: tuple[Image, Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with the old image in slot a; not to be changed."""
    return make_disk(tmp_path_factory.mktemp("disk") / "disk.raw", images[0])


@pytest.fixture
def disk(installed: Path, tmp_path: Path) -> Path:
    return copied(installed, tmp_path / "disk.raw")


@pytest.fixture(scope="module")
def now(installed: Path) -> Papers:
    with open_device(installed) as device:
        return read_papers(device, "a")


def changed(image: Image, **changes: Any) -> Image:
    """The image, were its plan another."""
    return image.model_copy(update={"plan": image.plan.model_copy(update=changes)})


def test_a_newer_image_is_tried_and_the_data_stay(
    images: tuple[Image, Image], disk: Path, now: Papers
) -> None:
    old, new = images
    with open_device(disk, write=True) as device:
        place = find_layout(device)["data"]
        data = device.read_at(place.start, place.size)
        may_follow(now, new, OPTIONS)
        assert put_on_trial(device, new, OPTIONS, Quiet()) == "b"
        assert read_state(device) == State("a", "b", 3)
        assert same_system(verify_slot(device, "b"), new, OPTIONS)
        assert same_system(verify_slot(device, "a"), old, OPTIONS)
        assert not same_system(verify_slot(device, "a"), old, Options(ip="dhcp"))
        assert device.read_at(place.start, place.size) == data


def test_going_back_ends_a_trial_or_begins_one(images: tuple[Image, Image], disk: Path) -> None:
    with open_device(disk, write=True) as device:
        with pytest.raises(InputError, match="nothing is in slot b"):
            go_back(device)
        put_on_trial(device, images[1], OPTIONS, Quiet())
        assert go_back(device) == State("a")
        assert go_back(device) == State("a", "b", 3)
        # The trial was passed.
        write_state(device, State("b"))
        assert go_back(device) == State("b", "a", 3)


def test_another_service_architecture_or_owner_of_the_data_is_refused(
    images: tuple[Image, Image], now: Papers
) -> None:
    new = images[1]
    manifest = new.manifest.model_copy(update={"name": "other"})
    with pytest.raises(InputError, match=r"the disk has keeper, and the image .* is other's"):
        may_follow(now, new.model_copy(update={"manifest": manifest}), OPTIONS)
    with pytest.raises(InputError, match="system is for x86_64, the image for aarch64"):
        may_follow(now, changed(new, architecture="aarch64"), OPTIONS)
    service = new.plan.service.model_copy(update={"user": 7})
    with pytest.raises(InputError, match=r"the data belong to 0:0, and .* runs as 7:0"):
        may_follow(now, changed(new, service=service), OPTIONS)


def test_data_need_a_place(images: tuple[Image, Image], now: Papers) -> None:
    before = now._replace(plan=now.plan.model_copy(update={"mounts": ()}))
    with pytest.raises(InputError, match="keeper keeps data now, and the disk has no place"):
        may_follow(before, images[1], OPTIONS)


def test_a_disk_of_signed_systems_takes_no_other(
    images: tuple[Image, Image], now: Papers, tmp_path: Path
) -> None:
    signed = now._replace(facts=now.facts.model_copy(update={"signed_by": "ab" * 32}))
    with pytest.raises(InputError, match="is signed, and no certificate is given"):
        may_follow(signed, images[1], OPTIONS)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-out", certificate]
    subprocess.run(
        ["openssl", "req", "-new", "-x509", *words, "-keyout", key], check=True, timeout=60
    )
    with pytest.raises(InputError, match="another certificate is given"):
        may_follow(signed, images[1], Options("off", key, certificate))


def test_an_image_of_another_binary_than_its_profile_is_refused(
    images: tuple[Image, Image], now: Papers
) -> None:
    new = images[1]
    at = next(n for n, file in enumerate(new.plan.files) if file.origin == "host" and file.sha256)
    other = new.plan.files[at].model_copy(update={"sha256": "ef" * 32})
    files = (*new.plan.files[:at], other, *new.plan.files[at + 1 :])
    with pytest.raises(InputError, match=f"has another {other.path} than its profile saw"):
        may_follow(now, changed(new, files=files), OPTIONS)
    renewed = (RenewedFile(path=other.path, now="newer", reason="a library"),)
    may_follow(now, changed(new, files=files, renewed=renewed), OPTIONS)


def test_a_damaged_slot_or_state_is_said(disk: Path) -> None:
    with open_device(disk, write=True) as device:
        places = find_layout(device)
        assert read_installed(device).slots["b"].lack == "nothing is in slot b"
        at = places["boot-a"].start + 4096
        device.write_at(at, bytes([device.read_at(at, 1)[0] ^ 1]))
        installed = read_installed(device)
        with pytest.raises(InputError, match=r"slot that boots is damaged: .*slot a is damaged"):
            booting(device, installed)
        device.write_at(places["state"].start + 512, b"first=z")
        with pytest.raises(InputError, match="its boot state is damaged"):
            read_installed(device)
