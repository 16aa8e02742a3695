"""The words that a medium's kernel gets: devices, in numbers that the kernel reads as meant."""

import re
from pathlib import Path

from installed_disks import OPTIONS, make_system
from onejob.exporter.iso import Medium, Place, cd_line, stick_line


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
    for words in (cd_line, stick_line):
        places = (Place(0, "x"), Place(23, "x", 64, 23), Place(9 * 10**6, "x", 64, 9 * 10**6))
        assert len({len(words(image, place, OPTIONS, medium)) for place in places}) == 1


def test_a_sticks_file_system_has_what_stands_before_its_partition(tmp_path: Path) -> None:
    """So that each of its blocks is as far from the beginning as on the whole stick."""
    medium = Medium({"onejob/root.json": tmp_path})
    line = stick_line(make_system(tmp_path, "new"), Place(900, "x", 64, 836), OPTIONS, medium)
    device = re.search(r";files,,,ro,(\S+) (\S+) linear (\S+) 0,(\S+) (\S+) linear (\S+) 0", line)
    assert device is not None
    sizes = [int(device[n], 0) for n in (1, 2, 4, 5)]
    assert sizes == [0, 64, 64, 836]
    assert device[3] == device[6] == "PARTUUID=x/PARTNROFF=-2"
    assert "files" not in stick_line(make_system(tmp_path, "bare"), Place(9, "x"), OPTIONS)
