"""The rate of this host's time stamps, for emulated guests."""

from pathlib import Path

import pytest

from onejob.system.clock import clock_words, counter_khz

CPUINFO = "processor\t: 0\ncpu MHz\t\t: 1197.1\nflags\t\t: fpu {flags}\nbogomips\t: 4999.99\n"


def test_the_rate_is_half_the_bogomips_where_the_counter_is_steady(tmp_path: Path) -> None:
    steady = CPUINFO.format(flags="tsc constant_tsc rep_good nonstop_tsc")
    assert counter_khz(steady * 2) == 2_499_995
    (tmp_path / "cpuinfo").write_text(steady)
    assert clock_words("tcg", tmp_path / "cpuinfo") == ["tsc_early_khz=2499995"]
    assert clock_words("kvm", tmp_path / "cpuinfo") == []
    assert clock_words("tcg", tmp_path / "none") == []


@pytest.mark.parametrize(
    "text",
    [
        CPUINFO.format(flags="tsc constant_tsc"),
        CPUINFO.format(flags="constant_tsc nonstop_tsc").replace("bogomips", "BogoMIPS"),
        "",
    ],
)
def test_a_rate_that_nobody_vouches_for_is_not_told(text: str) -> None:
    assert counter_khz(text) is None
