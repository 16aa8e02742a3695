"""The attack on an image at rest: a byte is changed, and the service runs as if nothing were."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onejob.bench.attacks.scene import guest_scene, host_scene, stock_scene
from onejob.bench.attacks.victim import GREETING, Victim
from onejob.model.errors import LacksError, OnejobError
from onejob.model.image import Image, open_image

_TIME_OF_MAKING = 8  # in squashfs's superblock: nothing but a hash finds it changed


def flip_on_stock(victim: Victim, secret: Path) -> bool:
    """Whether the service's program runs with a byte of its text changed, and says so."""
    program = victim.folder / "service"
    whole = program.read_bytes()
    program.write_bytes(whole.replace(b"world\0", b"worle\0", 1))
    try:
        with stock_scene(victim, secret, GREETING.replace("world", "worle")):
            return True
    finally:
        program.write_bytes(whole)


def flip_in_image(victim: Victim, image: Image, secret: Path, folder: Path, guest: bool) -> bool:
    """Whether a copy of `image` in `folder` with a byte of its root changed is run."""
    with _flipped(image, folder) as changed:
        scene = guest_scene if guest else host_scene
        try:
            with scene(victim, changed, secret):
                return True
        except LacksError:
            raise
        except OnejobError:
            return False


@contextmanager
def _flipped(image: Image, folder: Path) -> Iterator[Image]:
    copy = folder / "flipped.onejob"
    shutil.copytree(image.folder, copy)
    try:
        with (copy / "root.img").open("r+b") as root:
            root.seek(_TIME_OF_MAKING)
            byte = root.read(1)
            root.seek(_TIME_OF_MAKING)
            root.write(bytes([byte[0] ^ 1]))
        yield open_image(copy)
    finally:
        shutil.rmtree(copy)
