"""An emulated guest gets longer time limits, and nothing else changes."""

from onejob.model.tomlfile import parse_toml
from onejob.model.workload import Workload
from onejob.system.rehearse import EMULATION_PATIENCE, patient

TEXT = """
name = "x"
command = ["x"]
ports = [1]
ready = { tcp = 1, within = 3 }
stop = { within = 5 }
[[drill]]
name = "a"
within = 7
expect = { within = 2 }
"""


def test_every_limit_is_longer() -> None:
    given = parse_toml(TEXT, Workload, "x")
    made = patient(given)
    limits = [
        made.ready.within,
        made.stop.within,
        made.drill[0].within,
        made.drill[0].expect.within,
    ]
    assert limits == [EMULATION_PATIENCE * limit for limit in (3, 5, 7, 2)]
    assert made.drill[0].name == "a"
    assert made.command == given.command
