"""Why the kernel did not honour an option: the dependency unmet, by its own Kconfig files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kconfiglib

from onejob.builder.kconfig import read_kconfig
from onejob.builder.kernel_make import Toolchain
from onejob.builder.kernel_source import KernelSource
from onejob.model.plan import KernelOption


def explain_dishonoured(
    options: Sequence[KernelOption], config: Path, source: KernelSource, toolchain: Toolchain
) -> list[str]:
    """One sentence for each of `options`, evaluated against the finished .config at `config`.

    Reads about 1,800 Kconfig files, some seconds: for the error path only.
    """
    try:
        kconfig = read_kconfig(source, toolchain.compiler)
        kconfig.load_config(str(config))
    except (kconfiglib.KconfigError, OSError) as error:
        # A newer kernel's Kconfig may have constructs that kconfiglib can't read.
        return [f"{_asked(option)}: not honoured ({error})" for option in options]
    return [f"{_asked(option)}: {_why(option, kconfig, source)}" for option in options]


def _asked(option: KernelOption) -> str:
    return f"kernel option {option.name}={option.value} ({option.reason})"


def _why(option: KernelOption, kconfig: Any, source: KernelSource) -> str:
    symbol = kconfig.syms.get(option.name)
    if symbol is None or not symbol.nodes:
        return f"Linux {source.release} has no such option"
    if option.value == "n":
        return _why_not_off(symbol)
    unmet = unmet_terms(symbol.direct_dep)
    if unmet:
        return "unmet dependency: " + ", ".join(unmet)
    return _why_not_on(symbol)


def unmet_terms(expression: Any) -> list[str]:
    """The factors of a Kconfig condition that are not true, each as text with its values."""
    if isinstance(expression, tuple) and expression[0] is kconfiglib.AND:
        return [*unmet_terms(expression[1]), *unmet_terms(expression[2])]
    if kconfiglib.expr_value(expression) > 0:
        return []
    return [kconfiglib.expr_str(expression, _with_value)]


def _with_value(item: Any) -> str:
    """A symbol of a condition as text, e.g. ``NET(=n)``; constants as they are."""
    text = str(kconfiglib.standard_sc_expr_str(item))
    is_plain = isinstance(item, kconfiglib.Symbol) and not item.is_constant
    return f"{text}(={item.str_value})" if is_plain else text


def _why_not_off(symbol: Any) -> str:
    selecting = [
        kconfiglib.expr_str(term)
        for term in kconfiglib.split_expr(symbol.rev_dep, kconfiglib.OR)
        if kconfiglib.expr_value(term) > 0
    ]
    if selecting:
        return "still on, selected by " + ", ".join(selecting)
    return f"still {symbol.str_value}; it has no switch of its own under these options"


def _why_not_on(symbol: Any) -> str:
    if symbol.choice is not None and symbol.choice.selection is not None:
        return f"its choice went to {symbol.choice.selection.name}"
    if not any(node.prompt for node in symbol.nodes):
        selectors = kconfiglib.expr_str(symbol.rev_dep)
        return f"it can't be set, only selected, by {selectors}"
    hidden = [term for node in symbol.nodes if node.prompt for term in unmet_terms(node.prompt[1])]
    if hidden:
        return "it can be set only with " + ", ".join(hidden)
    return f"the kernel's own rules made it {symbol.str_value}"
