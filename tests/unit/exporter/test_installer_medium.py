"""The words that a medium's kernel gets: devices, in numbers that the kernel reads as meant."""

import re
from pathlib import Path

from installed_disks import OPTIONS, make_system
from onejob.exporter.iso import Medium, Place, cd_line


def test_sizes_on_the_command_line_are_read_as_they_are_meant(tmp_path: Path) -> None:
    """The kernel takes the base of a device's start and size from how they begin (kstrtoull)."""
    medium = Medium({"onejob/root.json": tmp_path}, ("onejob.trust=23",))
    line = cd_line(make_system(tmp_path, "new"), Place(38912, "nowhere"), OPTIONS, medium)
    sizes = [int(size, 0) for size in re.findall(r",(?:ro|rw),0 (\w+) ", line)]
    assert len(sizes) == 3
    assert sizes[-1] == 38912
    assert line.endswith("onejob.trust=23")


def test_a_medium_has_words_of_the_same_length_wherever_its_root_is(tmp_path: Path) -> None:
    image, medium = make_system(tmp_path, "new"), Medium({"onejob/root.json": tmp_path})
    lengths = {len(cd_line(image, Place(n, "x"), OPTIONS, medium)) for n in (0, 23, 9 * 10**6)}
    assert len(lengths) == 1
