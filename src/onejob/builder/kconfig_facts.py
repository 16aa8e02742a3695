"""What the kernel's own Kconfig says of an option: its prompt, its conditions, what it needs."""

from dataclasses import dataclass
from pathlib import Path

import kconfiglib

from onejob.builder.kconfig import read_kconfig
from onejob.builder.kconfig_needs import NeedsSolver
from onejob.builder.kernel import source_tree
from onejob.builder.kernel_cache import KernelCache
from onejob.builder.kernel_make import find_toolchain
from onejob.builder.kernel_source import find_source
from onejob.model.catalogue import Need


@dataclass(frozen=True)
class OptionFacts:
    """An option of Linux `release`; `needs` is None where nothing turns it on."""

    release: str
    prompt: str
    place: str
    """Kconfig file and line."""
    depends_on: str
    selected_by: tuple[str, ...]
    needs: tuple[Need, ...] | None


def option_facts(option: str, cache: Path, source_folder: Path = Path("/usr/src")) -> OptionFacts:
    """The facts of `option`, from the newest kernel source; `place` is empty for an unknown one.

    Some seconds. LacksError where there is no source or no compiler.
    """
    kernels = KernelCache(cache / "kernel")
    source = source_tree(find_source(source_folder), kernels, lambda what, part: None)
    kconfig = read_kconfig(source, find_toolchain().compiler)
    symbol = kconfig.syms.get(option)
    if symbol is None or not symbol.nodes:
        return OptionFacts(source.release, "", "", "", (), None)
    node = next((node for node in symbol.nodes if node.prompt), symbol.nodes[0])
    return OptionFacts(
        release=source.release,
        prompt=node.prompt[0] if node.prompt else "",
        place=f"{node.filename}:{node.linenr}",
        depends_on=_text(symbol.direct_dep),
        selected_by=tuple(sorted({each.name for each in _selecting(symbol)})),
        needs=NeedsSolver(kconfig).needs(option),
    )


def _text(condition: object) -> str:
    text = str(kconfiglib.expr_str(condition))
    return "" if text == "y" else text


def _selecting(symbol: kconfiglib.Symbol) -> list[kconfiglib.Symbol]:
    terms = kconfiglib.split_expr(symbol.rev_dep, kconfiglib.OR)
    firsts = (kconfiglib.split_expr(term, kconfiglib.AND)[0] for term in terms)
    return [each for each in firsts if not each.is_constant]
