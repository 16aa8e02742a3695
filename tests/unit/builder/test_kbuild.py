"""From a module to the option that builds it, by the Makefiles of its folder and those above."""

from pathlib import Path

import pytest

from onejob.builder.kbuild import option_of

MAKEFILES = {
    "drivers/net/Makefile": "obj-$(CONFIG_NET_FRONT) += net-front.o\n",
    "drivers/net/intel/Makefile": (
        "obj-$(CONFIG_CARD) += card/\n"
        "obj-$(CONFIG_PAIR) += one.o \\\n\ttwo.o # three.o\n"
        "obj-$(CONFIG_DEEP) += sub/deep.o\n"
    ),
    "drivers/net/intel/card/Makefile": "obj-$(CONFIG_CARD) += card.o\ncard-objs := main.o\n",
    "drivers/tb/Kbuild": "obj-${CONFIG_BOLT} := bolt.o\nobj-$(subst m,y,$(CONFIG_SUB)) += s.o\n",
}


@pytest.mark.parametrize(
    ("module", "folder", "expected"),
    [
        ("card", "drivers/net/intel/card", ("CARD", "drivers/net/intel/card/Makefile")),
        ("net_front", "drivers/net", ("NET_FRONT", "drivers/net/Makefile")),
        ("two", "drivers/net/intel", ("PAIR", "drivers/net/intel/Makefile")),
        ("deep", "drivers/net/intel/sub", ("DEEP", "drivers/net/intel/Makefile")),
        ("bolt", "drivers/tb", ("BOLT", "drivers/tb/Kbuild")),
        ("s", "drivers/tb", ("SUB", "drivers/tb/Kbuild")),
        ("three", "drivers/net/intel", ("", "")),
        ("main", "drivers/net/intel/card", ("", "")),
    ],
)
def test_the_option_of_a_module(
    module: str, folder: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    for name, text in MAKEFILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert option_of(module, folder, tmp_path) == expected
