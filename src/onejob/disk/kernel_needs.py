"""What a place asks of an image's kernel: options by which it is found out, before it is tried."""

from collections.abc import Iterable
from typing import NamedTuple

from onejob.model.errors import InputError
from onejob.model.image import KERNEL_CONFIG, Image


class Need(NamedTuple):
    """One of `options` has to be built in; `why` it is needed there."""

    options: tuple[str, ...]
    why: str


def need_kernel(image: Image, place: str, needs: Iterable[Need], hardware: str) -> None:
    """InputError naming the first of `needs` that the image's kernel lacks.

    `hardware` is for what to plan so that it has it.
    """
    built_in = _built_in(image)
    for need in needs:
        if not any(option in built_in for option in need.options):
            names = " or ".join(f"CONFIG_{option}" for option in need.options)
            raise InputError(
                f"image {image.folder}: its kernel lacks {names}, which {place} needs: {need.why}",
                f"build it for that: onejob build {image.profile} --hardware {hardware}",
            )


def has_option(image: Image, name: str) -> bool:
    """Whether the option `name`, without its ``CONFIG_``, is built in."""
    return name in _built_in(image)


def _built_in(image: Image) -> set[str]:
    """Options that are ``y``; InputError where the image has no kernel."""
    assert image.kernel
    lines = (image.folder / KERNEL_CONFIG).read_text().splitlines()
    return {line[len("CONFIG_") : -len("=y")] for line in lines if line.endswith("=y")}
