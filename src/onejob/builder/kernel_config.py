"""A kernel configuration from nothing upwards, and the check that every option came out as asked.

``make allnoconfig`` starts with everything off that can be off; the kernel's own ``tiny.config``
and then the plan's options are its seed, so that a later line wins.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onejob.builder.kernel_explain import explain_dishonoured
from onejob.builder.kernel_make import Make, Toolchain
from onejob.builder.kernel_source import KernelSource
from onejob.model.errors import BuildError
from onejob.model.plan import KernelOption

_CONFIG_LINE = re.compile(r"CONFIG_(\w+)=(.*)")
_BARE_VALUE = re.compile(r"[ymn]|-?\d+|0[xX][0-9a-fA-F]+")
# What `make tinyconfig` adds to allnoconfig (scripts/kconfig/Makefile).
_TINY_SEEDS = ("kernel/configs/tiny.config", "arch/x86/configs/tiny.config")


@dataclass(frozen=True)
class KernelConfig:
    """A .config: its text, and the value of each option that is not off."""

    text: str
    values: dict[str, str]


def options_text(options: Sequence[KernelOption]) -> str:
    """The options in the form of a .config, sorted by name.

    Raises BuildError where one name has two values.
    """
    values: dict[str, KernelOption] = {}
    for option in options:
        other = values.setdefault(option.name, option)
        if config_value(other.value) != config_value(option.value):
            raise BuildError(
                f"kernel option {option.name} is asked for as {other.value} ({other.reason})"
                f" and as {option.value} ({option.reason})",
                hint="let only one component set it",
            )
    names = sorted(values)
    return "".join(f"CONFIG_{name}={config_value(values[name].value)}\n" for name in names)


def config_value(value: str) -> str:
    """`value` as .config writes it: y, n and numbers bare, everything else in double quotes."""
    if _BARE_VALUE.fullmatch(value) or value.startswith('"'):
        return value
    return f'"{value}"'


def write_config(tree: Path, options: Sequence[KernelOption], make: Make) -> None:
    """Leave the .config for `options` in make's object folder."""
    seed = make.objects / "onejob-seed.config"
    tiny = [(tree / name).read_text() for name in _TINY_SEEDS if (tree / name).exists()]
    seed.write_text("\n".join([*tiny, options_text(options)]))
    make.run("allnoconfig", environment={"KCONFIG_ALLCONFIG": str(seed)})


def read_config(path: Path) -> KernelConfig:
    """Read a .config file."""
    text = path.read_text()
    return KernelConfig(text, parse_config(text))


def parse_config(text: str) -> dict[str, str]:
    """The value of each option in a .config that is not off."""
    matches = (_CONFIG_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1]: match[2] for match in matches if match}


def check_options(
    options: Sequence[KernelOption], config: Path, source: KernelSource, toolchain: Toolchain
) -> None:
    """BuildError that names each option not honoured, its reason and its unmet dependency."""
    values = read_config(config).values
    dishonoured = [option for option in options if not is_honoured(option, values)]
    if dishonoured:
        raise BuildError(
            "\n".join(explain_dishonoured(dishonoured, config, source, toolchain)),
            hint="ask for what the option depends on in the same component, or drop the option",
        )


def is_honoured(option: KernelOption, values: dict[str, str]) -> bool:
    """Whether `values` of a .config have `option` as asked; a missing option is off."""
    wanted, got = config_value(option.value), values.get(option.name, "n")
    return _number(wanted) == _number(got) if _number(wanted) is not None else wanted == got


def _number(value: str) -> int | None:
    try:
        return int(value, 0)
    except ValueError:
        return None
