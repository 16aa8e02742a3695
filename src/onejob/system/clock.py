"""How fast time stamps count here, for emulated guests: they cannot find it out by themselves.

A kernel measures its time stamp counter against another clock. Under emulation on a busy host that
fails ("Unable to calibrate against PIT"), and such a guest then has ticks of 10 ms for a clock,
makes a call of each look at the time, and never stops ticking. QEMU's emulated counter is this
host's own, and Linux says how fast that is: bogomips is the counter's rate in MHz, twice
(init/calibrate.c, arch/x86/kernel/tsc.c), where no delay loop had to be measured.
"""

import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_STEADY = {"constant_tsc", "nonstop_tsc"}


def clock_words(accelerator: str, cpuinfo: Path = CPUINFO) -> list[str]:
    """The kernel's words for the rate; none where hardware runs the guest, or nobody knows it."""
    if accelerator != "tcg":
        return []
    try:
        rate = counter_khz(cpuinfo.read_text())
    except OSError:
        rate = None
    return [f"tsc_early_khz={rate}"] if rate else []


def counter_khz(cpuinfo: str) -> int | None:
    """kHz of the time stamp counter by a text of /proc/cpuinfo; None unless it is a steady one."""
    flags = re.search(r"^flags\s*:(.*)", cpuinfo, re.MULTILINE)
    bogomips = re.search(r"^bogomips\s*:\s*(\d+\.\d+)$", cpuinfo, re.MULTILINE)
    if flags is None or bogomips is None or not set(flags[1].split()) >= _STEADY:
        return None
    return round(float(bogomips[1]) * 500)
