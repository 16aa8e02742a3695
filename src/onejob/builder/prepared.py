"""Prepared kernels: which of those at hand fits a plan. Nothing is configured or compiled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onejob.builder.kernel_config import is_honoured, parse_config
from onejob.model.errors import BuildError
from onejob.model.plan import KernelOption

_MOST_NAMED = 12


@dataclass(frozen=True)
class PreparedKernel:
    """A kernel that was built elsewhere: its name there, size in bytes, and its whole .config."""

    name: str
    size: int
    config: str


def choose_kernel(
    options: Sequence[KernelOption], kernels: Iterable[PreparedKernel]
) -> PreparedKernel:
    """The smallest of `kernels` whose configuration has every one of `options`.

    BuildError names what the nearest one lacks.
    """
    lacking = [(each, _missing(options, each)) for each in kernels]
    fitting = [each for each, missing in lacking if not missing]
    if fitting:
        return min(fitting, key=lambda each: (each.size, each.name))
    if not lacking:
        raise BuildError("there is no prepared kernel", "push one: onejob push IMAGE --kernel")
    nearest, missing = min(lacking, key=lambda each: (len(each[1]), each[0].size, each[0].name))
    named = [f"{option.name}={option.value} ({option.reason})" for option in missing]
    more = f", and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    raise BuildError(
        f"none of {len(lacking)} prepared kernels fits; the nearest, {nearest.name}, lacks "
        + ", ".join(named[:_MOST_NAMED])
        + more,
        "build the image for this machine's hardware file (onejob survey -o FILE) where a compiler"
        " is, and push its kernel: onejob push IMAGE --kernel",
    )


def _missing(options: Sequence[KernelOption], kernel: PreparedKernel) -> list[KernelOption]:
    values = parse_config(kernel.config)
    return [option for option in options if not is_honoured(option, values)]


def options_beyond(options: Sequence[KernelOption], asked: Iterable[KernelOption]) -> list[str]:
    """The options that a kernel was `asked` for and has, beyond `options`."""
    needed = {option.name for option in options if option.value != "n"}
    return sorted(o.name for o in asked if o.value != "n" and o.name not in needed)
