"""Prepared kernels: the smallest that fits is chosen; where none does, the lacking is named."""

import pytest

from onejob.builder.prepared import PreparedKernel, choose_kernel, options_beyond
from onejob.model.errors import BuildError
from onejob.model.plan import KernelOption


def kernel(name: str, size: int, *lines: str) -> PreparedKernel:
    return PreparedKernel(name, size, "\n".join(f"CONFIG_{line}" for line in lines))


def option(name: str, value: str = "y") -> KernelOption:
    return KernelOption(name=name, value=value, reason=f"{name} is needed")


SMALL = kernel("small", 10, "NET=y", "NR_CPUS=2")
LARGE = kernel("large", 30, "NET=y", "NR_CPUS=2", "VIRTIO=y", "USB=y")
MIDDLE = kernel("middle", 20, "NET=y", "NR_CPUS=2", "VIRTIO=y")


def test_the_smallest_that_has_all_is_chosen() -> None:
    options = [option("NET"), option("VIRTIO"), option("IPV6", "n"), option("NR_CPUS", "2")]
    assert choose_kernel(options, [LARGE, SMALL, MIDDLE]) is MIDDLE
    assert choose_kernel(options, [LARGE, SMALL]) is LARGE


def test_what_a_kernel_has_beyond_is_named() -> None:
    asked = [option("USB"), option("NET"), option("DEBUG", "n"), option("NR_CPUS", "2")]
    assert options_beyond([option("NET"), option("IPV6")], asked) == ["NR_CPUS", "USB"]


def test_an_option_that_has_to_be_off_is_one() -> None:
    chosen = choose_kernel([option("NET"), option("VIRTIO", "n")], [LARGE, MIDDLE, SMALL])
    assert chosen is SMALL


def test_what_the_nearest_lacks_is_named_with_its_reason() -> None:
    options = [option("NET"), option("VIRTIO"), option("NVME"), option("NR_CPUS", "8")]
    with pytest.raises(BuildError) as caught:
        choose_kernel(options, [SMALL, LARGE])
    assert "none of 2 prepared kernels fits; the nearest, large, lacks" in caught.value.what
    assert "NVME=y (NVME is needed), NR_CPUS=8 (NR_CPUS is needed)" in caught.value.what
    assert "VIRTIO" not in caught.value.what


def test_many_that_lack_are_counted() -> None:
    options = [option(f"OPTION_{number}") for number in range(20)]
    with pytest.raises(BuildError, match=r"OPTION_11 is needed\), and 8 more$"):
        choose_kernel(options, [SMALL])


def test_without_any_kernel_it_is_said_how_one_gets_there() -> None:
    with pytest.raises(BuildError, match="no prepared kernel") as caught:
        choose_kernel([], [])
    assert "onejob push IMAGE --kernel" in caught.value.hint
